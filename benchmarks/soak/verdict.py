"""What may stay after a phase, and why; waiting until it is no more than that; the table at the end."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.soak.figures import CLIENTS, KEYS, ROWS, TABLES, TASKS, UNWRITTEN, Observer, Reading
from benchmarks.soak.site import DROPPERS, WORKERS

SETTLE_SECONDS: Final = 75.0
"""Announcements are gathered for a minute for a client that may come back; all else is quicker (security F12)."""

LOOK_SECONDS: Final = 0.5
REST_SECONDS: Final = 11.0
SESSIONS_PER_CLIENT: Final = 64
POOL: Final = 10
EXECUTOR_THREADS: Final = 6  # of asyncio on two cores: cores + 4, started one by one

Allowance = Callable[[float], float]
"""The most that may be there, of what was there at the base."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of each figure may stay. `streams` of the last five minutes may have left an event log."""

    memory: float
    people: int
    events: int

    def allowance(self, figure: str) -> Allowance | None:
        """None for what is only shown."""
        if figure.startswith("memory of"):
            return lambda base: base + self.memory
        if figure.startswith(ROWS):
            return None  # judged by what is purged once it has expired
        return self._exact().get(figure, _no_more)

    def _exact(self) -> dict[str, Allowance]:
        http_backends = 3
        return {
            # what a look itself leaves for a moment, and connections to backends that are kept for four seconds
            "descriptors of the workers, pools aside": lambda base: base + 2,
            "descriptors of the runner": lambda base: base + 2,
            CLIENTS: lambda base: base + 2,
            "threads of the workers": lambda base: max(base, WORKERS * (EXECUTOR_THREADS + 2)),
            "threads of the runner": lambda base: max(base, EXECUTOR_THREADS + 2),
            TASKS: lambda base: base + 2,
            UNWRITTEN: lambda _: 0,
            # pools grow to their bound with the load and stay
            "PostgreSQL connections": lambda _: WORKERS * POOL,
            "Redis connections": lambda base: base + WORKERS * 16,
            # dropped sessions live a day (a quarter of an hour if never used), at most 64 of a person's client
            KEYS + "session": lambda _: DROPPERS * SESSIONS_PER_CLIENT,
            KEYS + "sessions": lambda _: self.people,
            # one per person and HTTP backend, so that the next session needs no handshake; a day
            KEYS + "upstream": lambda base: max(base, self.people * http_backends),
            # a stream's log is kept five minutes for a client that comes back, and how large it is
            KEYS + "events": lambda _: self.events,
            KEYS + "events-size": lambda _: self.events,
            KEYS + "inbox": lambda _: WORKERS,
            KEYS + "limit": lambda base: base + 4,
        }


@dataclass(frozen=True, slots=True)
class Settled:
    """How a phase ended: what did not come back."""

    phase: str
    reading: Reading
    over: Sequence[str]
    seconds: float


async def settle(
    observer: Observer, base: Reading, bounds: Bounds, phase: str, *, only: Collection[str] = ()
) -> Settled:
    """Look until everything is back, for `SETTLE_SECONDS` at most; `only` some figures, if they are named."""
    began = time.perf_counter()
    while True:
        reading = await observer.read()
        over = [
            f"{figure}: {value:g}, base {base.get(figure, 0):g}, allowed {allowed:g}"
            for figure, value in reading.items()
            if (not only or figure in only) and (allowed := most(figure, base, bounds)) is not None and value > allowed
        ]
        seconds = time.perf_counter() - began
        if not over or seconds > SETTLE_SECONDS:
            return Settled(phase, reading, over, seconds)
        await asyncio.sleep(LOOK_SECONDS)


async def take_base(observer: Observer) -> Reading:
    """Look until the gateway is at rest: its tasks have not changed over two of its own measurements."""
    deadline = time.perf_counter() + SETTLE_SECONDS
    reading, since = await observer.read(), time.perf_counter()
    while time.perf_counter() - since < REST_SECONDS and time.perf_counter() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        latest = await observer.read()
        if latest[TASKS] != reading[TASKS]:
            since = time.perf_counter()
        reading = latest
    return reading


def most(figure: str, base: Reading, bounds: Bounds) -> float | None:
    """What is allowed of a figure; None when it is only shown."""
    allowance = bounds.allowance(figure)
    return None if allowance is None else allowance(base.get(figure, 0.0))


def table(base: Reading, after: Reading, bounds: Bounds) -> str:
    """Base, after and allowed of every figure."""
    rows = [("", "base", "after", "allowed", "")]
    for figure in dict.fromkeys([*after, *base]):
        allowed, value = most(figure, base, bounds), after.get(figure, 0.0)
        shown = "" if allowed is None else f"{allowed:,.5g}"
        word = "" if allowed is None else "ok" if value <= allowed else "NOT BACK"
        rows.append((figure, f"{base.get(figure, 0.0):,.5g}", f"{value:,.5g}", shown, word))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _no_more(base: float) -> float:
    return base


def not_purged(after: Reading) -> list[str]:
    """The tables that still have rows after everything in them has expired and the broom has swept."""
    return [f"{ROWS}{table} still has {after[ROWS + table]:g}" for table in TABLES if after[ROWS + table]]
