"""Which store this process uses: Redis when there is one, else its own memory. No third way belongs here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway_proxy.domain.clock import Clock
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.redis_store import RedisSessionStore
from gateway_proxy.sessions.store import SessionLimits, SessionStore


@asynccontextmanager
async def open_session_store(
    redis: Redis | None, clock: Clock, limits: SessionLimits | None = None
) -> AsyncIterator[SessionStore]:
    """The session store for the life of the process. An unreachable Redis is no reason not to start."""
    store = MemorySessionStore(clock, limits) if redis is None else RedisSessionStore(redis, clock, limits)
    async with store:
        yield store
