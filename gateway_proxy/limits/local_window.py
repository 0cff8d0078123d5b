"""Moving windows in the memory of one process: the embedded default, and the fallback while Redis fails."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import RateLimited

MAXIMUM_KEYS: Final = 50_000


@dataclass(slots=True)
class _Window:
    """The last moments (monotonic seconds, oldest first) and the instant at which all of them are forgotten."""

    moments: deque[float]
    ends: float


class LocalWindow:
    """A `Limiter` for one process. Memory is bounded: beyond `maximum_keys` the one unused for longest is forgotten."""

    def __init__(self, clock: Clock, *, maximum_keys: int = MAXIMUM_KEYS) -> None:
        self._clock = clock
        self._maximum_keys = maximum_keys
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()

    async def hit(self, name: str, *parts: str, limit: int, window: float, count: bool = True) -> None:
        """Count one more (see `Limiter`)."""
        self.check(name, *parts, limit=limit, window=window)
        if count:
            self.note(name, *parts, limit=limit, window=window)

    async def reset(self, name: str, *parts: str) -> None:
        """Forget what was counted."""
        self._windows.pop((name, *parts), None)

    def check(self, name: str, *parts: str, limit: int, window: float) -> None:
        """Look whether one more is allowed, without counting it.

        Raises:
            RateLimited: It is not.
        """
        if limit < 1:
            raise RateLimited(window)
        known = self._windows.get((name, *parts))
        if known is None or len(known.moments) < limit:
            return
        wait = known.moments[-limit] + window - self._clock.monotonic()
        if wait > 0:
            raise RateLimited(wait)

    def note(self, name: str, *parts: str, limit: int, window: float) -> None:
        """Count one more that was allowed."""
        now = self._clock.monotonic()
        key = (name, *parts)
        known = self._windows.pop(key, None)
        if known is None or known.moments.maxlen != limit:
            known = _Window(deque(known.moments if known is not None else (), maxlen=limit), ends=now)
        known.moments.append(now)
        known.ends = now + window
        self._windows[key] = known
        self._forget(now)

    def __len__(self) -> int:
        return len(self._windows)

    def _forget(self, now: float) -> None:
        """Drop what has ended among the longest unused, a few at a time, and the longest unused itself when full."""
        for _ in range(2):
            oldest = next(iter(self._windows), None)
            if oldest is None:
                return
            if self._windows[oldest].ends > now and len(self._windows) <= self._maximum_keys:
                return
            del self._windows[oldest]
