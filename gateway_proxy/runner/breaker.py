"""Back-off and breaker of one child: how soon it may be started again after it failed. Pure decisions, no I/O.

A failure is a life that ended unasked before it did anything useful; a child that served a call and then crashed
starts again at once, so that "the next call gets a fresh child" holds for it.
"""

from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.runner.errors import BreakerOpen

FAILURES_TO_OPEN: Final = 5
OPEN_SECONDS: Final = 30.0
_FIRST_DELAY: Final = 0.2


@dataclass(slots=True)
class Breaker:
    """Closed below five failures in a row; then open for 30 s; then one trial start at a time (half-open)."""

    clock: Clock
    failures: int = 0
    last_failure: float = 0.0

    def admit(self) -> float:
        """Seconds to wait before the next start: 0, 0.2, 0.4, 0.8 after the first failures.

        Raises:
            BreakerOpen: Too many failures and the open time has not passed.
        """
        since = self.clock.monotonic() - self.last_failure
        if self.failures >= FAILURES_TO_OPEN:
            if since < OPEN_SECONDS:
                raise BreakerOpen(retry_after=OPEN_SECONDS - since)
            return 0.0
        if self.failures < 2:
            return 0.0
        return max(0.0, _FIRST_DELAY * 2.0 ** (self.failures - 2) - since)

    def record_failure(self) -> None:
        """A life ended without having been of use. In the half-open state this opens the breaker again."""
        self.failures += 1
        self.last_failure = self.clock.monotonic()

    def record_success(self) -> None:
        """The child answered a request other than the handshake."""
        self.failures = 0

    @property
    def state(self) -> str:
        """closed, open or half-open, for the status page."""
        if self.failures < FAILURES_TO_OPEN:
            return "closed"
        return "open" if self.clock.monotonic() - self.last_failure < OPEN_SECONDS else "half-open"
