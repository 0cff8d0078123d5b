"""The time that a call is given. It only reckons; whoever waits does so with what is left."""

from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import BackendTimeout

LONGEST_CALL: Final = 600.0


class Deadline:
    """When a call ends. Progress gives it its whole time again, but never beyond `LONGEST_CALL` in all."""

    __slots__ = ("_clock", "_ends_at", "_last", "seconds")

    def __init__(self, clock: Clock, seconds: float) -> None:
        now = clock.monotonic()
        self._clock = clock
        self.seconds = seconds
        self._ends_at = now + seconds
        self._last = now + max(seconds, LONGEST_CALL)

    def left(self, backend: str) -> float:
        """Seconds left, more than 0.

        Raises:
            BackendTimeout: None are.
        """
        left = self._ends_at - self._clock.monotonic()
        if left <= 0:
            raise BackendTimeout(backend, self.seconds)
        return left

    def extend(self) -> None:
        """The backend reported progress."""
        self._ends_at = min(self._clock.monotonic() + self.seconds, self._last)
