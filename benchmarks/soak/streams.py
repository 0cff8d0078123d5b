"""Phase: GET streams held by many sessions, all dropped at once, all back at once (security F12)."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import wire
from benchmarks.load import Connection, Tally, hammer
from benchmarks.processes import resident_bytes
from benchmarks.soak.progress import Progress, say
from benchmarks.soak.site import DROPPERS, PATH, STREAMS_PER_PERSON, Site, Unexpected, check

LANES: Final = 16
OPEN_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
LATER: Final = (429, 503)
"""An older stream of the person is still to be missed, or too many come at once: clients come back in a moment."""

HEARTBEAT_SECONDS: Final = 30.0
"""15 s of silence and a look every 3 s, and as much again on a machine that has other things to do."""

_EVENT_ID: Final = re.compile(rb"^id: ?(.+)$", re.MULTILINE)
_HEARTBEAT: Final = re.compile(rb"^:", re.MULTILINE)


@dataclass(slots=True)
class Held:
    """A session and its stream."""

    person: int
    session: str
    connection: Connection | None = None
    last_event: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the phase has measured: bytes of the workers per stream, and the p99 of others' calls in the storm."""

    per_stream: float
    p99: float


async def hold_and_drop(site: Site, amount: int, hold: float, back_to_base: Callable[[], Awaitable[None]]) -> Seen:
    """Hold the streams for a while, drop them, wait for the base, have all come back, drop them, end the sessions."""
    progress = Progress("streams", amount * 2)
    held = await _open_sessions(site, amount)
    before = _resident(site)
    await _hold_all(site, held, progress)
    per_stream = (_resident(site) - before) / amount
    await _rest(held, hold)
    _drop_all(held)
    await back_to_base()
    tally, _ = await asyncio.gather(_call_meanwhile(site, held), _hold_all(site, held, progress))
    latencies = sorted(tally.latencies)
    _drop_all(held)
    await _end_sessions(site, held)
    progress.end()
    return Seen(per_stream, latencies[len(latencies) * 99 // 100])


def _resident(site: Site) -> int:
    return sum(map(resident_bytes, site.workers))


async def _open_sessions(site: Site, amount: int) -> list[Held]:
    held: list[Held] = []

    async def open_some(numbers: range) -> None:
        connection = await site.connect()
        for number in numbers:
            person = DROPPERS + number // STREAMS_PER_PERSON
            held.append(Held(person, await site.initialize(connection, person)))
        connection.close()

    await asyncio.gather(*(open_some(range(lane, amount, LANES)) for lane in range(LANES)))
    return held


async def _hold_all(site: Site, held: Sequence[Held], progress: Progress) -> None:
    """Ask for all streams at once, and wait until each has begun."""

    put_off = 0

    async def hold_one(each: Held) -> None:
        nonlocal put_off
        while not await _hold_one(site, each):
            put_off += 1
            await asyncio.sleep(RETRY_SECONDS)
        progress.add()

    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await asyncio.gather(*map(hold_one, held))
    except TimeoutError:
        late = next(each for each in held if each.connection is None or not each.connection.heard)
        heard = late.connection.heard if late.connection is not None else b"no connection"
        raise Unexpected(f"not every stream has begun after {OPEN_SECONDS:g} s: {heard[:300]!r}") from None
    if put_off:
        say(f"  {put_off} attempts to open a stream were put off")


async def _hold_one(site: Site, each: Held) -> bool:
    """Ask for one stream, after the last event seen; False when that was put off (`LATER`)."""
    headers = site.headers(each.person, each.session)
    if each.last_event:
        headers = (*headers, ("last-event-id", each.last_event))
    connection = each.connection = await site.connect()
    connection.hold(wire.get(site.host, PATH, headers))
    while not _HEARTBEAT.search(connection.heard):
        if connection.ended is not None:
            connection.close()
            each.connection = None
            if connection.ended.status not in LATER:
                check(connection.ended, 200, "a GET stream", b"event")
            return False
        await asyncio.sleep(LOOK_SECONDS)
    found = _EVENT_ID.search(connection.heard)
    each.last_event = found[1].decode() if found else each.last_event
    return True


async def _rest(held: Sequence[Held], seconds: float) -> None:
    """Hold the streams for so long; every one must have its heartbeats."""
    heartbeats = int(seconds // HEARTBEAT_SECONDS)
    before = [_heartbeats(each) for each in held]
    say(f"  {len(held):,} streams held for {seconds:g} s")
    await asyncio.sleep(seconds)
    missing = sum(_heartbeats(each) - had < heartbeats for each, had in zip(held, before, strict=True))
    if missing:
        raise Unexpected(f"{missing} of {len(held)} streams had fewer than {heartbeats} heartbeats in {seconds:g} s")


def _heartbeats(each: Held) -> int:
    assert each.connection is not None
    return len(_HEARTBEAT.findall(each.connection.heard))


def _drop_all(held: Sequence[Held]) -> None:
    for each in held:
        if each.connection is not None:
            each.connection.close()
            each.connection = None


async def _call_meanwhile(site: Site, held: Sequence[Held]) -> Tally:
    """Somebody else's calls, until all streams are there."""
    connection, asked = await site.subject().open("json", 0)
    whole, deadline = Tally(), time.perf_counter() + OPEN_SECONDS
    while not whole.latencies or (_is_opening(held) and time.perf_counter() < deadline):
        tally = await hammer([connection], [asked], 0.2)
        if tally.errors:
            raise Unexpected(f"a call of somebody else failed in the storm: {tally.first_error}")
        whole.latencies += tally.latencies
    connection.close()
    return whole


def _is_opening(held: Sequence[Held]) -> bool:
    return any(each.connection is None or not each.connection.heard for each in held)


async def _end_sessions(site: Site, held: Sequence[Held]) -> None:
    async def end_some(mine: Sequence[Held]) -> None:
        connection = await site.connect()
        for each in mine:
            await site.end(connection, each.person, each.session)
        connection.close()

    await asyncio.gather(*(end_some(held[lane::LANES]) for lane in range(LANES)))
