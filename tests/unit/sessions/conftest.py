"""The two stores behind one harness, so that every test of the suite runs on both."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Literal, Protocol

import pytest
from redis.asyncio import Redis

from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.redis_store import RedisSessionStore
from gateway_proxy.sessions.store import SessionLimits, SessionStore
from gateway_proxy.storage.redis.client import open_redis
from tests.support.clock import FakeClock

LIMITS = SessionLimits(idle_seconds=3600, unused_seconds=600, per_client=4, upstream_seconds=7200)


class Workers(Protocol):
    """Several workers' views of one store, and the passing of time in it."""

    async def open(self) -> SessionStore:
        """The store as one more worker sees it."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the store, wherever it keeps its time."""


class MemoryWorkers:
    """One process: every worker is the same one."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._store = MemorySessionStore(clock, LIMITS)

    async def open(self) -> SessionStore:
        return self._store

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)


class RedisWorkers:
    """A store per worker on one Redis. Redis has no clock of ours, so its TTLs are moved instead."""

    def __init__(self, redis: Redis, clock: FakeClock, stack: AsyncExitStack) -> None:
        self._redis = redis
        self._clock = clock
        self._stack = stack

    async def open(self) -> SessionStore:
        return await self._stack.enter_async_context(RedisSessionStore(self._redis, self._clock, LIMITS))

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)
        async for key in self._redis.scan_iter():
            left = await self._redis.pttl(key)
            assert left > 0, f"{key!r} has no time to live"
            await self._redis.pexpire(key, max(0, left - round(seconds * 1000)))


@pytest.fixture(params=["memory", "redis"])
async def workers(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Workers]:
    """Both stores, one after the other."""
    kind: Literal["memory", "redis"] = request.param
    if kind == "memory":
        yield MemoryWorkers(clock)
        return
    redis = open_redis(request.getfixturevalue("redis_url"))
    try:
        async with AsyncExitStack() as stack:
            yield RedisWorkers(redis, clock, stack)
    finally:
        await redis.aclose()


@pytest.fixture
async def store(workers: Workers) -> SessionStore:
    """One worker's store."""
    return await workers.open()


@pytest.fixture
def session() -> Callable[..., SessionRecord]:
    """A session of Ann in acme, through the client `claude`, unless said otherwise."""

    def make(
        session_id: str = "s1",
        *,
        tenant_id: str = "acme",
        user_id: str = "ann",
        client_id: str | None = "claude",
    ) -> SessionRecord:
        return SessionRecord(
            id=session_id,
            tenant_id=tenant_id,
            user_id=user_id,
            client_id=client_id,
            protocol_version="2025-11-25",
            client_info_json=b'{"name":"test","x":"\xc3\xa9"}',
            capabilities_json=b"{}",
        )

    return make


@pytest.fixture
def upstream() -> Callable[[str], UpstreamSessionRecord]:
    """A session with the backend behind the key `k`."""

    def make(session_id: str) -> UpstreamSessionRecord:
        return UpstreamSessionRecord(
            key="k", session_id=session_id, protocol_version="2025-11-25", initialize_result_json=b"{}"
        )

    return make
