"""Rate limits (security L1-L3): what other rooms are given, and how it is put together.

With Redis the windows are shared by all workers and replicas. While Redis fails each process counts by itself: the
limits loosen by the number of processes, they never fall away.
"""

from typing import Protocol

from redis.asyncio import Redis

from gateway_proxy.domain.clock import Clock
from gateway_proxy.limits.local_window import LocalWindow
from gateway_proxy.limits.shared_window import SharedWindow


class Limiter(Protocol):
    """Counts what happens under a name and for some parts (an address, an account), in moving windows."""

    async def hit(self, name: str, *parts: str, limit: int, window: float, count: bool = True) -> None:
        """Count one more, of at most `limit` in any `window` seconds. What is refused is not counted.

        Without `count` it is only looked whether one more would be allowed.

        Raises:
            RateLimited: That would be one too many; says in how many seconds it would not.
        """

    async def reset(self, name: str, *parts: str) -> None:
        """Forget what was counted, after a success that shows that the caller was no attacker."""


def open_limiter(redis: Redis | None, clock: Clock) -> Limiter:
    """The limiter of this process: shared through Redis if there is one, else for one process."""
    local = LocalWindow(clock)
    return local if redis is None else SharedWindow(redis, local, clock)
