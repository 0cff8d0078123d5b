"""Rounds of scenarios over subjects, interleaved: every subject is measured in every round, in turning order."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.load import Connection, Tally, hammer
from benchmarks.processes import cpu_seconds
from benchmarks.subjects import Kind, Subject

WARM_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many connections at once, of these kinds in turn."""

    name: str
    connections: int
    kinds: tuple[Kind, ...]

    def suits(self, subject: Subject) -> bool:
        """Whether the subject can be asked this."""
        return set(self.kinds) <= set(subject.kinds) and self.connections <= subject.most_connections


ONE: Final = Scenario("JSON, C=1", 1, ("json",))
EIGHT: Final = Scenario("JSON, C=8", 8, ("json",))
MANY: Final = Scenario("JSON, C=64", 64, ("json",))
CROWD: Final = Scenario("JSON, C=256", 256, ("json",))
EVENTS: Final = Scenario("SSE, C=64", 64, ("sse",))
MIXED: Final = Scenario("JSON and SSE, C=256", 256, ("json", "sse"))
LIST: Final = Scenario("list of 500, C=8", 8, ("list",))
FULL: Final = (ONE, EIGHT, MANY, CROWD, EVENTS, MIXED, LIST)
SHORT: Final = (ONE, MANY, MIXED, LIST)


@dataclass(frozen=True, slots=True)
class Sample:
    """One subject in one scenario of one round. Times in seconds; `cpu` of all the subject's processes."""

    calls: int
    errors: int
    first_error: str
    elapsed: float
    cpu: float
    p50: float
    p99: float

    @property
    def cpu_per_call(self) -> float:
        """CPU seconds of the subject per call."""
        return self.cpu / max(self.calls, 1)

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.elapsed


Samples = dict[str, dict[str, list[Sample]]]
"""By scenario, then by subject, one per round."""


async def measure(subject: Subject, scenario: Scenario, seconds: float) -> Sample:
    """Open the connections with a session each, warm up, then measure."""
    opened = []
    try:
        for number in range(scenario.connections):
            opened.append(await subject.open(scenario.kinds[number % len(scenario.kinds)], number))
        connections: list[Connection] = [connection for connection, _ in opened]
        asked = [question for _, question in opened]
        await hammer(connections, asked, min(WARM_SECONDS, seconds / 3))
        pids = subject.pids()
        before = cpu_seconds(pids)
        tally = await hammer(connections, asked, seconds)
        cpu = cpu_seconds(pids) - before
    finally:
        for connection, _ in opened:
            connection.close()
    return _sample_of(tally, cpu)


def _sample_of(tally: Tally, cpu: float) -> Sample:
    latencies = sorted(tally.latencies) or [0.0]
    return Sample(
        calls=len(tally.latencies),
        errors=tally.errors,
        first_error=tally.first_error,
        elapsed=tally.elapsed,
        cpu=cpu,
        p50=latencies[len(latencies) // 2],
        p99=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)],
    )


async def run_rounds(
    subjects: Sequence[Subject],
    scenarios: Sequence[Scenario],
    *,
    rounds: int,
    seconds: float,
) -> Samples:
    """All of it. Neighbours on the machine disturb a round, not one subject, because turns are short and take turns."""
    samples: Samples = {scenario.name: {} for scenario in scenarios}
    for number in range(rounds):
        for scenario in scenarios:
            for subject in _turned(subjects, number):
                if not scenario.suits(subject):
                    continue
                sample = await measure(subject, scenario, seconds)
                samples[scenario.name].setdefault(subject.name, []).append(sample)
                await asyncio.sleep(0.05)
    return samples


def _turned(subjects: Sequence[Subject], number: int) -> Iterator[Subject]:
    start = number % len(subjects)
    yield from subjects[start:]
    yield from subjects[:start]
