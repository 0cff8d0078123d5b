"""Moving windows in Redis, shared by all workers and replicas, with the windows of this process in reserve.

One script, one round trip: it looks, counts and says how long to wait. Time comes from the `Clock`, so replicas are
expected to agree on it to about a second; keys expire by themselves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import RateLimited
from gateway_proxy.limits.local_window import LocalWindow
from gateway_proxy.storage.redis.keys import limit_key
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

ANSWER_SECONDS: Final = 0.5  # a limit is not worth a longer wait
RETRY_SECONDS: Final = 2.0  # how long Redis is left alone after it failed

# KEYS: the moments, newest first. ARGV: now (s), limit, window (s), 1 to count. Answer: nil, or the seconds to wait.
_HIT: Final = """
local now, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local first = tonumber(redis.call('LINDEX', KEYS[1], limit - 1) or '')
if first and first + window > now then return string.format('%.3f', first + window - now) end
if ARGV[4] == '0' then return false end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(window * 1000))
return false
"""


class SharedWindow:
    """A `Limiter` over Redis. What this process lets through is noted here too, so a Redis that is lost or slow leaves
    limits that act at once.
    """

    def __init__(self, redis: Redis, local: LocalWindow, clock: Clock) -> None:
        self._script = redis.register_script(_HIT)
        self._redis = redis
        self._local = local
        self._clock = clock
        self._left_alone_until = 0.0

    async def hit(self, name: str, *parts: str, limit: int, window: float, count: bool = True) -> None:
        """Count one more (see `Limiter`)."""
        try:
            wait = await self._ask(limit_key(name, parts), limit=limit, window=window, count=count)
        except _Unanswered:
            await self._local.hit(name, *parts, limit=limit, window=window, count=count)
            return
        if wait is not None:
            raise RateLimited(wait)
        if count:
            self._local.note(name, *parts, limit=limit, window=window)

    async def reset(self, name: str, *parts: str) -> None:
        """Forget what was counted, in Redis and here."""
        await self._local.reset(name, *parts)
        with suppress(_Unanswered):
            async with self._asking():
                await self._redis.delete(limit_key(name, parts))

    async def _ask(self, key: str, *, limit: int, window: float, count: bool) -> float | None:
        """The seconds to wait, None if one more is allowed."""
        if limit < 1:
            return window
        async with self._asking():
            answer = await self._script([key], [f"{self._clock.now().timestamp():.6f}", limit, window, int(count)])
        return None if answer is None else float(answer)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Around a question to Redis: after a failure it is left alone for a moment, so that not every caller waits.

        Raises:
            _Unanswered: It failed, or it is being left alone.
        """
        if self._clock.monotonic() < self._left_alone_until:
            raise _Unanswered
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            self._left_alone_until = self._clock.monotonic() + RETRY_SECONDS
            log.warning("limiter_redis_failed", retry_seconds=RETRY_SECONDS)
            raise _Unanswered from error


class _Unanswered(Exception):
    """Redis cannot be asked at present."""
