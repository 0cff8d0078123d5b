"""Phases: clients that hang up in the middle of a call, and children that die in the middle of one."""

import asyncio
import itertools
import json
import os
import signal
from typing import Final

from benchmarks import wire
from benchmarks.load import Answer, Connection
from benchmarks.soak.progress import Progress
from benchmarks.soak.site import CRASHERS, DROPPERS, PATH, Site, Unexpected, check

LANES: Final = 16
LATE_SECONDS: Final = 2.0
_WORK: Final = {"text": "done", "text_number": 0, "steps": 20, "pause": 0.05}
_CASES: Final = (("slow__echo", {"text": "late"}, False), ("work__work", _WORK, False), ("work__work", _WORK, True))
"""Tool, arguments, and whether progress is wanted, which makes a stream that outlives its client."""

_PATIENCE: Final = (0.0, 0.05, 0.15, 0.3, 0.6)


async def hang_up(site: Site, amount: int) -> None:
    """Call and hang up, after more or less patience."""
    progress = Progress("hang-ups", amount)

    async def hang_up_some(lane: int) -> None:
        person = lane % DROPPERS
        first = await site.connect()
        session = await site.initialize(first, person)
        first.close()
        for number in range(lane, amount, LANES):
            tool, arguments, is_wanted = _CASES[number % len(_CASES)]
            body = wire.call_with(number + 1, tool, arguments, progress=is_wanted)
            connection = await site.connect()
            connection.hold(wire.post(site.host, PATH, body, site.headers(person, session)))
            await asyncio.sleep(_PATIENCE[number % len(_PATIENCE)])
            connection.close()
            progress.add()
        last = await site.connect()
        await site.end(last, person, session)
        last.close()

    await asyncio.gather(*map(hang_up_some, range(LANES)))
    progress.end()


async def crash(site: Site, amount: int) -> None:
    """Let children die in a call, by themselves and killed; the next call must be served by a fresh one."""
    progress = Progress("crashes", amount)

    async def crash_some(lane: int) -> None:
        connection, other = await site.connect(), await site.connect()
        pid = await _ask_pid(site, connection, lane)
        for number in itertools.count(lane, CRASHERS):
            if number >= amount:
                break
            await (_end_itself(site, connection, lane) if number % 2 else _kill(site, connection, other, lane, pid))
            fresh = await _ask_pid(site, connection, lane)
            if fresh == pid:
                raise Unexpected(f"child {pid} of crash{lane} answers after its death")
            pid = fresh
            progress.add()
        connection.close()
        other.close()

    await asyncio.gather(*map(crash_some, range(CRASHERS)))
    progress.end()


async def _end_itself(site: Site, connection: Connection, lane: int) -> None:
    _check_failed(await connection.ask(_request(site, lane, "crash")))


async def _kill(site: Site, connection: Connection, other: Connection, lane: int, pid: int) -> None:
    """Kill the child that has the call. A call that was late found a fresh one, which is killed in its turn."""
    hanging = asyncio.create_task(other.ask(_request(site, lane, "hang")))
    await asyncio.sleep(0.02)
    while not hanging.done():
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait({hanging}, timeout=LATE_SECONDS)
        if not hanging.done():
            pid = await _ask_pid(site, connection, lane)
    _check_failed(await hanging)


def _check_failed(answer: Answer) -> None:
    """The call whose child died ends with an error at once."""
    if b'"error"' not in answer.body and b'"isError":true' not in answer.body:
        raise Unexpected(f"a call outlived its child: {answer.status} {answer.body[:300]!r}")


async def _ask_pid(site: Site, connection: Connection, lane: int) -> int:
    answer = await connection.ask(_request(site, lane, "ok"))
    check(answer, 200, f"a call to crash{lane}", b'"result"')
    return int(json.loads(answer.body)["result"]["content"][0]["text"])


def _request(site: Site, lane: int, tool: str) -> bytes:
    body = wire.call_with(1, f"crash{lane}__{tool}", {})
    return wire.post(site.host, PATH, body, site.headers(lane % DROPPERS))
