"""The figures that have to hold, as ratios of one run, and how much a noisy machine may add to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks import measure as m
from benchmarks.capacity import Scaling, Sessions, Start
from benchmarks.chat.measure import PROVIDER, ChatSample, ChatSamples
from benchmarks.gateway import NAME
from benchmarks.measure import Sample, Samples, Scenario
from benchmarks.peers.starting import NGINX, PASSTHROUGH

SLACK: Final = 1.5
MB: Final = 1_000_000
DIRECT: Final = "direct"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row: what was seen against what must and should be. `is_ratio` rows decide the short form's exit status."""

    what: str
    seen: float | None
    unit: str
    must: float
    aim: float
    at_most: bool = True
    is_ratio: bool = True
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the must-target holds; None when there is nothing to compare."""
        return None if self.seen is None else self._reaches(self.must)

    @property
    def reaches_aim(self) -> bool | None:
        """Whether the aim is reached."""
        return None if self.seen is None else self._reaches(self.aim)

    @property
    def fails_with_slack(self) -> bool:
        """Whether it misses the must-target by more than noise explains."""
        slack = SLACK if self.at_most else 1 / SLACK
        return self.is_ratio and self.seen is not None and not self._reaches(self.must * slack)

    def _reaches(self, target: float) -> bool:
        assert self.seen is not None
        return self.seen <= target if self.at_most else self.seen >= target


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one run has seen."""

    samples: Samples
    start: Start | None
    sessions: Sessions | None
    scaling: Scaling | None
    chats: ChatSamples


def verdicts(run: Run) -> list[Verdict]:
    """The must-table."""
    samples = run.samples
    rows = [
        Verdict(
            "CPU per tools/call at C=64, to Starlette + aiohttp",
            _cpu_ratio(samples, m.MANY, PASSTHROUGH),
            "×",
            0.5,
            0.3,
        ),
        Verdict(
            "calls/s at C=64, to Starlette + aiohttp",
            _rate_ratio(samples, m.MANY),
            "×",
            2.0,
            3.0,
            at_most=False,
            is_ratio=False,
            note="wall time, so whatever else runs on that core counts",
        ),
        Verdict("added p50 at C=1, to Starlette + aiohttp", _added_ratio(samples), "×", 1.2, 0.7),
        Verdict(
            "tools/list of 500, CPU, to nginx passing the bytes", _cpu_ratio(samples, m.LIST, NGINX), "×", 2.0, 1.0
        ),
        Verdict("errors at C=256, JSON and SSE mixed", _errors(samples, m.MIXED), "", 0.0, 0.0),
        Verdict(
            "CPU per call at C=256 mixed, to C=64 JSON", _crowd_ratio(samples), "×", 1.3, 1.3, note="an aim, not a must"
        ),
    ]
    return [*rows, *_capacity(run), *_chats(run.chats)]


def _capacity(run: Run) -> list[Verdict]:
    rows = []
    if run.scaling is not None:
        seen, note = run.scaling.measured, "measured"
        if not run.scaling.has_room:
            seen, note = (
                run.scaling.computed,
                "computed of CPU per call and balance: the load has no core of its own here",
            )
        rows.append(Verdict("calls/s of 2 workers, to 1", seen, "×", 1.7, 1.9, at_most=False, note=note))
    if run.sessions is not None:
        rows.append(
            Verdict("memory per 1,000 idle sessions", run.sessions.per_thousand / MB, " MB", 12, 6, is_ratio=False)
        )
    if run.start is not None:
        note = "the worker; the whole tree stands below"
        rows.append(Verdict("idle memory, one worker", run.start.worker / MB, " MB", 90, 60, is_ratio=False, note=note))
        rows.append(Verdict("start to first 200", run.start.ready, " s", 1.5, 0.7, is_ratio=False))
    return rows


def _chats(chats: ChatSamples) -> list[Verdict]:
    def added(figure: Callable[[ChatSample], float | None]) -> float | None:
        pairs = zip(chats.get(NAME, ()), chats.get(PROVIDER, ()), strict=False)
        found = [ours - direct for one, two in pairs if (ours := figure(one)) and (direct := figure(two))]
        return median(found) * 1000 if found else None

    pairs = zip(chats.get(NAME, ()), chats.get(PASSTHROUGH, ()), strict=False)
    ratios = [one.cpu_per_chunk / two.cpu_per_chunk for one, two in pairs if one.cpu_per_chunk and two.cpu_per_chunk]
    cpu = median(ratios) if ratios else None
    first, round_ = added(lambda sample: sample.first), added(lambda sample: sample.after_tool)
    note = "against a client that runs the tool itself"
    return [
        Verdict("CPU per streamed chunk of a chat, to Starlette + aiohttp", cpu, "×", 2.5, 1.2),
        Verdict("added time to the first word of a chat", first, " ms", 1, 0.5, is_ratio=False),
        Verdict("the same with one tool round", round_, " ms", 2, 1, is_ratio=False, note=note),
    ]


def ratio_of(
    samples: Samples, scenario: Scenario, name: str, other: str, figure: Callable[[Sample], float]
) -> float | None:
    """The median over the rounds of one subject's figure by another's."""
    ours, theirs = _of(samples, scenario, name), _of(samples, scenario, other)
    ratios = [figure(one) / figure(two) for one, two in zip(ours, theirs, strict=False) if figure(two) > 0]
    return median(ratios) if ratios else None


def _cpu_ratio(samples: Samples, scenario: Scenario, other: str) -> float | None:
    return ratio_of(samples, scenario, NAME, other, lambda sample: sample.cpu_per_call)


def _rate_ratio(samples: Samples, scenario: Scenario) -> float | None:
    return ratio_of(samples, scenario, NAME, PASSTHROUGH, lambda sample: sample.rate)


def _added_ratio(samples: Samples) -> float | None:
    rows = (_of(samples, m.ONE, name) for name in (NAME, PASSTHROUGH, DIRECT))
    ratios = [
        (ours.p50 - direct.p50) / (theirs.p50 - direct.p50)
        for ours, theirs, direct in zip(*rows, strict=False)
        if theirs.p50 > direct.p50
    ]
    return median(ratios) if ratios else None


def _errors(samples: Samples, scenario: Scenario) -> float | None:
    found = _of(samples, scenario, NAME)
    return float(sum(sample.errors for sample in found)) if found else None


def _crowd_ratio(samples: Samples) -> float | None:
    crowd, many = _of(samples, m.MIXED, NAME), _of(samples, m.MANY, NAME)
    ratios = [one.cpu_per_call / two.cpu_per_call for one, two in zip(crowd, many, strict=False) if two.cpu > 0]
    return median(ratios) if ratios else None


def _of(samples: Samples, scenario: Scenario, name: str) -> Sequence[Sample]:
    return samples.get(scenario.name, {}).get(name, [])
