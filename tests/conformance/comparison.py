"""Compares a run through the gateway with the direct run, and the differences with the gaps that are known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.suite import WORST_FIRST, Checks, Run

KNOWN_GAPS = Path(__file__).parent / "known_gaps.yaml"
MISSING = "MISSING"
"""The status of a check that the direct run makes and the other does not."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One run of the suite through a gateway."""

    target: str
    backend: str
    revision: str

    @property
    def name(self) -> str:
        return f"{self.revision} · {self.backend} backend · {self.target}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A check that ends worse through the gateway than directly."""

    leg: Leg
    scenario: str
    check: str
    directly: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference that is known, with the reason why it stands. Without a revision or a backend it is of all."""

    scenario: str
    check: str
    reason: str
    revision: str | None = None
    backend: str | None = None

    def covers(self, difference: Difference) -> bool:
        """Whether this entry speaks of `difference`."""
        return (
            (self.scenario, self.check) == (difference.scenario, difference.check)
            and self.revision in (None, difference.leg.revision)
            and self.backend in (None, difference.leg.backend)
        )


def read_known_gaps(path: Path = KNOWN_GAPS) -> list[Gap]:
    """The entries of the file; an unknown field is an error."""
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8")) or []
    return [Gap(**entry) for entry in entries]


def find_differences(leg: Leg, directly: Checks, through: Checks) -> list[Difference]:
    """What is worse through the gateway, and what fails there that the direct run never got to."""
    ranks = {status: rank for rank, status in enumerate((MISSING, *WORST_FIRST))}
    found = []
    for key in sorted({*directly, *through}):
        before, after = directly.get(key), through.get(key)
        expected = before.status if before is not None else "SUCCESS"
        status = after.status if after is not None else MISSING
        if status in (MISSING, "SKIPPED") and expected in ("SKIPPED", "FAILURE"):
            continue  # the direct run proves nothing there either
        if ranks[status] < ranks[expected]:
            directly_said = before.status if before is not None else "not reached"
            found.append(Difference(leg, *key, directly_said, status, after.message if after is not None else ""))
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """The differences that nobody expected, those that are known, and the entries that no difference needs."""

    unexpected: Sequence[Difference]
    known: Sequence[tuple[Difference, Gap]]
    spent: Sequence[Gap]

    @property
    def is_good(self) -> bool:
        """Whether the file of known gaps says exactly what was seen."""
        return not self.unexpected and not self.spent


def judge(differences: Iterable[Difference], gaps: Sequence[Gap], legs: Sequence[Leg]) -> Verdict:
    """Match differences and gaps. A gap of a leg that was not run is left alone."""
    unexpected, known = [], []
    used: set[Gap] = set()
    for difference in differences:
        gap = next((gap for gap in gaps if gap.covers(difference)), None)
        if gap is None:
            unexpected.append(difference)
        else:
            known.append((difference, gap))
            used.add(gap)
    was_run = {(leg.revision, leg.backend) for leg in legs}
    spent = [gap for gap in gaps if gap not in used and any(_speaks_of(gap, *pair) for pair in was_run)]
    return Verdict(unexpected, known, spent)


def _speaks_of(gap: Gap, revision: str, backend: str) -> bool:
    return gap.revision in (None, revision) and gap.backend in (None, backend)


Results = Mapping[Leg, Run]
"""What each leg through the gateway found."""
