"""`python -m benchmarks.soak`: use a gateway for long, and fail naming what it did not give back."""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.soak.calls import Growth, call_tools
from benchmarks.soak.expiry import count_overdue, sweep_ahead
from benchmarks.soak.figures import CLIENTS, DESCRIPTORS, Observer, Reading, observing
from benchmarks.soak.progress import say
from benchmarks.soak.refreshes import refresh
from benchmarks.soak.sessions import open_and_drop
from benchmarks.soak.site import (
    CRASHERS,
    DROPPERS,
    STREAMS_PER_PERSON,
    Family,
    Site,
    Unexpected,
    authorize_families,
    running_site,
)
from benchmarks.soak.streams import hold_and_drop
from benchmarks.soak.trouble import crash, hang_up
from benchmarks.soak.verdict import Bounds, Settled, not_purged, settle, table, take_base
from benchmarks.stores import running_stores

SLOPE: Final = 1.0  # MiB per 10,000 calls
PER_STREAM: Final = 100 * 1024
LAST_LINES: Final = 30


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; `memory` in MiB is what a process may grow by. `warm_calls` come before the base."""

    calls: int
    sessions: int
    streams: int
    hang_ups: int
    crashes: int
    refreshes: int
    hold: float
    memory: float
    warm_calls: int


FULL: Final = Sizes(
    calls=100_000,
    sessions=10_000,
    streams=1_000,
    hang_ups=2_000,
    crashes=1_000,
    refreshes=10_000,
    hold=120.0,
    memory=16.0,
    warm_calls=20_000,
)
SHORT: Final = Sizes(
    calls=4_000,
    sessions=300,
    streams=60,
    hang_ups=120,
    crashes=24,
    refreshes=160,
    hold=0.0,
    memory=16.0,
    warm_calls=2_000,
)


def read_sizes() -> Sizes:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a little of everything, in under two minutes")
    for name in ("calls", "sessions", "streams", "hang-ups", "crashes", "refreshes"):
        key = name.replace("-", "_")
        parser.add_argument(
            f"--{name}", type=int, help=f"(default {getattr(FULL, key):,}, short {getattr(SHORT, key):,})"
        )
    parser.add_argument("--hold", type=float, help="seconds for which the streams are held (default 120, short 0)")
    given = vars(parser.parse_args())
    sizes = SHORT if given.pop("short") else FULL
    return Sizes(**{name: getattr(sizes, name) for name in Sizes.__slots__} | {k: v for k, v in given.items() if v})


class Soak:
    """One run over one site."""

    def __init__(self, site: Site, observer: Observer, families: list[Family], sizes: Sizes) -> None:
        self._site = site
        self._observer = observer
        self._families = families
        self._sizes = sizes
        people = len(site.tokens)
        self._bounds = Bounds(sizes.memory, people, events=sizes.streams + sizes.hang_ups)
        self._base: Reading = {}
        self._last: Reading = {}
        self.complaints: list[str] = []

    async def run(self) -> None:
        """Warm up with some of everything, take the base, then one phase after the other."""
        sizes = self._sizes
        say("warm-up")
        await self._phases(
            Sizes(
                calls=sizes.warm_calls,
                sessions=DROPPERS * 100,
                streams=sizes.streams,
                hang_ups=48,
                crashes=CRASHERS * 2,
                refreshes=len(self._families),
                hold=0.0,
                memory=sizes.memory,
                warm_calls=0,
            ),
            is_judged=False,
        )
        self._base = await take_base(self._observer)
        await self._phases(sizes, is_judged=True)
        await self._judge_expiry()

    def report(self) -> str:
        """The table of the last look."""
        return "\n" + table(self._base, self._last, self._bounds) + "\n"

    async def _phases(self, sizes: Sizes, *, is_judged: bool) -> None:
        site = self._site
        self._families = await refresh(site, self._families, sizes.refreshes)
        await self._settle("refreshes", is_judged=is_judged)
        growth = await call_tools(site, sizes.calls)
        if is_judged:
            self._judge_growth(growth)
        await self._settle("calls", is_judged=is_judged)
        await open_and_drop(site, sizes.sessions)
        await self._settle("sessions", is_judged=is_judged)
        await self._streams(sizes, is_judged=is_judged)
        await self._settle("streams", is_judged=is_judged)
        await hang_up(site, sizes.hang_ups)
        await self._settle("hang-ups", is_judged=is_judged)
        await crash(site, sizes.crashes)
        await self._settle("crashes", is_judged=is_judged)

    async def _streams(self, sizes: Sizes, *, is_judged: bool) -> None:
        base = self._base or await self._observer.read()
        only = [CLIENTS]
        if is_judged and sizes.hold:
            only += [figure for figure in base if figure.startswith(DESCRIPTORS)]

        async def back_to_base() -> None:
            self._note(await settle(self._observer, base, self._bounds, "drop of all streams", only=only))

        seen = await hold_and_drop(self._site, sizes.streams, sizes.hold, back_to_base)
        say(f"  {seen.per_stream / 1024:.0f} KiB per held stream; others' p99 in the storm {seen.p99 * 1000:.0f} ms")
        if sizes.streams >= FULL.streams and seen.per_stream > PER_STREAM:
            self.complaints.append(f"streams: {seen.per_stream / 1024:.0f} KiB each, allowed {PER_STREAM // 1024}")

    async def _settle(self, phase: str, *, is_judged: bool) -> None:
        if is_judged:
            self._note(await settle(self._observer, self._base, self._bounds, phase))

    def _note(self, settled: Settled) -> None:
        self._last = settled.reading
        word = "NOT back to base" if settled.over else "back to base"
        say(f"{settled.phase}: {word} after {settled.seconds:.1f} s")
        self.complaints += [f"{settled.phase}: {line}" for line in settled.over]

    def _judge_growth(self, growth: Growth) -> None:
        slopes = growth.slopes()
        say(f"  memory per 10,000 calls: {', '.join(f'{slope:+.2f} MiB' for slope in slopes) or 'too few to say'}")
        self.complaints += [
            f"calls: a worker grows by {slope:.2f} MiB per 10,000 calls, allowed {SLOPE:g}"
            for slope in slopes
            if slope >= SLOPE
        ]

    async def _judge_expiry(self) -> None:
        overdue = await count_overdue(self._observer.database)
        if overdue:
            self.complaints.append(f"expiry: {overdue} access tokens should have been removed by now")
        removed = await sweep_ahead(self._site.stores)
        say(f"expiry: {removed:,} rows removed once everything has expired")
        self.complaints += [f"expiry: {line}" for line in not_purged(await self._observer.read())]


async def soak(sizes: Sizes) -> list[str]:
    """Start everything, run, stop; what did not come back."""
    people = DROPPERS + -(-sizes.streams // STREAMS_PER_PERSON)
    with tempfile.TemporaryDirectory(prefix="gwsoak") as name, running_stores() as stores:
        async with running_site(Path(name), stores, people=people) as site, observing(site) as observer:
            run = Soak(site, observer, await authorize_families(site), sizes)
            try:
                await run.run()
            except (Unexpected, OSError) as problem:
                run.complaints.append(f"{type(problem).__name__}: {problem}")
            say(run.report())
            if run.complaints:
                lines = [line for line in site.log.read_text("utf-8", "replace").splitlines() if '"info"' not in line]
                print(*(line[:500] for line in lines[-LAST_LINES:]), sep="\n", file=sys.stderr)
            return run.complaints


def main() -> int:
    """Run and say how it went; 1 when something did not come back."""
    complaints = uvloop.run(soak(read_sizes()))
    for line in complaints:
        print(f"not back: {line}", file=sys.stderr)
    say("something did not come back" if complaints else "everything came back")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
