"""Time as a parameter: every module that needs the time takes a `Clock`. Nothing else may read the system clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The two times there are: the wall clock for what is stored, the monotonic one for durations."""

    def now(self) -> datetime:
        """The present instant, timezone-aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)  # as it is: asked a dozen times in a call, and a frame around it counts
