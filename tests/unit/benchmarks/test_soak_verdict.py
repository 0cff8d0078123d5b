"""What a soak allows to stay, and what it complains of."""

import pytest

from benchmarks.capacity import MIB
from benchmarks.soak.calls import Growth
from benchmarks.soak.figures import CLIENTS, KEYS, ROWS, TASKS, UNWRITTEN
from benchmarks.soak.verdict import Bounds, most, not_purged, table

BOUNDS = Bounds(memory=16.0, people=10, events=100)
BASE = {"memory of worker 1, MiB": 100.0, TASKS: 30.0, CLIENTS: 1.0, UNWRITTEN: 0.0, "zombies": 0.0}


def judged(after: dict[str, float]) -> list[str]:
    """The figures that the table calls out."""
    lines = table(BASE, BASE | after, BOUNDS).splitlines()
    return [line.partition("  ")[0] for line in lines if line.endswith("NOT BACK")]


def test_the_base_itself_is_back() -> None:
    """Security F13: what is as before has come back."""
    assert judged({}) == []


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("memory of worker 1, MiB", 120.0),
        (TASKS, 40.0),
        (CLIENTS, 10.0),
        (UNWRITTEN, 1.0),
        ("zombies", 1.0),
        (KEYS + "session", 129.0),
        (KEYS + "of a kind that nobody knows", 1.0),
        ("Redis keys without a time to live", 1.0),
    ],
)
def test_what_grew_without_a_reason_is_called_out(figure: str, value: float) -> None:
    """Security F12, F13: memory, tasks, descriptors, keys and processes come back to the base."""
    assert judged({figure: value}) == [figure]


def test_what_has_a_bound_and_a_reason_may_stay() -> None:
    """Dropped sessions live on for a while, at most 64 of a person's client; pools are kept."""
    assert judged({KEYS + "session": 128.0, KEYS + "events": 100.0, "PostgreSQL connections": 20.0}) == []


def test_rows_are_judged_by_what_is_left_once_all_has_expired() -> None:
    """Security F13: expired rows are purged."""
    assert most(ROWS + "access_tokens", BASE, BOUNDS) is None
    tables = ("authorization_codes", "access_tokens", "refresh_tokens", "token_families", "browser_sessions")
    swept = {ROWS + name: 0.0 for name in tables}
    assert not_purged(swept) == []
    assert not_purged(swept | {ROWS + "access_tokens": 3.0}) == ["rows: access_tokens still has 3"]


def test_a_slope_is_told_only_of_many_calls() -> None:
    """Security F13: less than 1 MB per 10,000 calls, which a few calls cannot show."""
    few = Growth([1_000, 2_000], [[MIB], [2 * MIB]])
    assert few.slopes() == []
    many = Growth([0, 10_000, 20_000], [[MIB, 0], [MIB, 2 * MIB], [MIB, 4 * MIB]])
    assert many.slopes() == [pytest.approx(0.0), pytest.approx(2.0)]
