"""What counts as worse than the direct run, and what the file of known gaps may and may not say."""

import pytest

from tests.conformance.comparison import Difference, Gap, Leg, find_differences, judge
from tests.conformance.suite import Check, Checks

LEG = Leg("1 worker", "stdio", "2025-11-25")
KEY = ("ping", "ping-answered")
GAP = Gap("ping", "ping-answered", "a reason", backend="stdio")


def _checks(status: str | None) -> Checks:
    return {} if status is None else {KEY: Check(status, "what the suite said")}


@pytest.mark.parametrize(
    ("directly", "through", "is_worse"),
    [
        ("SUCCESS", "SUCCESS", False),
        ("SUCCESS", "WARNING", True),
        ("SUCCESS", "SKIPPED", True),
        ("SUCCESS", "FAILURE", True),
        ("SUCCESS", None, True),
        ("WARNING", "SUCCESS", False),
        ("WARNING", "FAILURE", True),
        ("FAILURE", "FAILURE", False),
        ("FAILURE", None, False),
        ("SKIPPED", None, False),
        (None, "SUCCESS", False),
        (None, "FAILURE", True),
    ],
)
def test_a_check_that_ends_worse_or_is_never_made_is_a_difference(
    directly: str | None, through: str | None, is_worse: bool
) -> None:
    """Issue 3: 0 failures that the direct run does not have, and as many checks that pass."""
    assert bool(find_differences(LEG, _checks(directly), _checks(through))) is is_worse


def _difference(leg: Leg = LEG) -> Difference:
    return Difference(leg, *KEY, "SUCCESS", "FAILURE", "what the suite said")


def test_a_known_difference_is_no_news() -> None:
    """Gaps are data, with reasons."""
    verdict = judge([_difference()], [GAP], [LEG])
    assert verdict.is_good
    assert verdict.known == [(_difference(), GAP)]


def test_a_difference_of_another_backend_is_not_covered() -> None:
    """An entry speaks of what it names."""
    other = Leg("1 worker", "http", "2025-11-25")
    verdict = judge([_difference(other)], [GAP], [other])
    assert verdict.unexpected == [_difference(other)]


def test_an_entry_that_no_difference_needs_has_to_go() -> None:
    """A gap that was closed must not hide the next one."""
    assert judge([], [GAP], [LEG]).spent == [GAP]


def test_an_entry_of_a_run_that_was_not_made_is_left_alone() -> None:
    """The short form does not run every leg."""
    assert judge([], [GAP], [Leg("1 worker", "http", "2025-11-25")]).is_good
