"""A breaker per backend: after failures in a row nobody waits for it any more, and one call at a time tries again."""

from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError

FAILURES: Final = 5
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
PROBE_SECONDS: Final = 30.0


@dataclass(slots=True)
class Breaker:
    """Closed, open until a moment, or half-open with one probe under way. Times in seconds.

    `last_error` is of the latest failure, for whoever wants to know why it is open.
    """

    clock: Clock
    failures: int = 0
    last_error: GatewayError | None = None
    _pause: float = FIRST_PAUSE
    _open_until: float = 0.0
    _is_open: bool = False
    _is_probing: bool = False

    def pause_left(self) -> float:
        """0 when a call may be made; when the pause is over the asker becomes the one probe."""
        if not self._is_open:
            return 0.0
        now = self.clock.monotonic()
        if now < self._open_until:
            return self._open_until - now
        self._is_probing = True
        self._open_until = now + PROBE_SECONDS  # the others wait for what the probe finds
        return 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, or a probe decides."""
        return self._is_open

    def succeeded(self) -> None:
        """The backend answered."""
        if self.failures:
            self.failures = 0
            self._pause = FIRST_PAUSE
            self._is_open = self._is_probing = False

    def failed(self, error: GatewayError) -> None:
        """The backend did not answer, or not in the protocol. Calls that were under way at the break count once."""
        self.failures += 1
        self.last_error = error
        if self._is_open and not self._is_probing:
            return
        if self._is_open or self.failures >= FAILURES:
            self._open_until = self.clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._is_open, self._is_probing = True, False
