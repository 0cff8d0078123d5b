"""Time that tests move by hand."""

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeClock:
    """A `Clock` that stands still until it is advanced; both of its times move together."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.step(seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Put the wall clock on, or back, as a time server does; no time passes."""
        self._now += timedelta(seconds=seconds)
