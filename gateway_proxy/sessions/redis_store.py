"""The session store that all workers and replicas share, in Redis.

A `find` on a warm session costs no round trip: a copy in the worker answers for `COPY_SECONDS`, and other workers'
changes are announced over pub/sub. While the announcements cannot be heard, copies are good for two seconds.
"""

from types import TracebackType
from typing import Final, Self

from redis.asyncio import Redis

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord
from gateway_proxy.sessions.cache import CopyCache
from gateway_proxy.sessions.codec import decode_session, decode_upstream, encode_record
from gateway_proxy.sessions.reachable import reachable
from gateway_proxy.sessions.store import SESSION_ID, Change, SessionLimits, is_owned_by
from gateway_proxy.storage.redis.keys import (
    session_key,
    session_news_channel,
    session_owner_key,
    upstream_session_key,
)
from gateway_proxy.storage.redis.news import News

COPY_SECONDS: Final = 30.0
DEAF_COPY_SECONDS: Final = 2.0
AMEND_ATTEMPTS: Final = 10
REPLACE_IF_EQUAL: Final = (
    "if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end "
    "redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1"
)
DELETE_IF_EQUAL: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisSessionStore:
    """Sessions as one key each, with a sorted set per owner (tenant, user, client) by last use. Use as a context.

    Commands are those of Redis 6.2. Every key carries a time to live, so a lost store empties itself.
    """

    def __init__(self, redis: Redis, clock: Clock, limits: SessionLimits | None = None) -> None:
        self._redis = redis
        self._clock = clock
        self._limits = limits or SessionLimits()
        self._sessions: CopyCache[tuple[str, str], SessionRecord] = CopyCache()
        self._upstream: CopyCache[tuple[str, str], UpstreamSessionRecord] = CopyCache()
        self._channel = session_news_channel()
        self._news = News(redis, self._channel, heard=self._forget_copy, reset=self._forget_copies)

    async def __aenter__(self) -> Self:
        await self._news.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._news.stop()

    @property
    def hears_news(self) -> bool:
        """Whether other workers' changes arrive at present; for the readiness page and for tests."""
        return self._news.is_listening

    async def add(self, record: SessionRecord) -> None:
        owned = _owner_key(record)
        async with reachable():
            batch = self._redis.pipeline(transaction=True)
            batch.set(
                session_key(record.tenant_id, record.id), encode_record(record), px=_ms(self._limits.unused_seconds)
            )
            batch.zadd(owned, {record.id: self._clock.now().timestamp()})
            batch.pexpire(owned, _ms(self._limits.idle_seconds))
            batch.zrange(owned, 0, -self._limits.per_client - 1)
            surplus = (await batch.execute())[-1]
            if surplus:
                await self._end([_text(name) for name in surplus], record.tenant_id, owned)

    async def find(
        self, session_id: str, *, tenant_id: str, user_id: str, client_id: str | None
    ) -> SessionRecord | None:
        record = self._sessions.get((tenant_id, session_id), newer_than=self._oldest_copy())
        if record is None:
            record = await self._read(session_id, tenant_id, user_id, client_id)
        if record is None or not is_owned_by(record, tenant_id=tenant_id, user_id=user_id, client_id=client_id):
            return None
        return record

    async def replace(self, record: SessionRecord) -> None:
        self._sessions.drop((record.tenant_id, record.id))
        async with reachable():
            batch = self._redis.pipeline(transaction=True)
            batch.set(
                session_key(record.tenant_id, record.id),
                encode_record(record),
                px=_ms(self._limits.idle_seconds),
                xx=True,
            )
            batch.publish(self._channel, self._news.encode(f"session {record.tenant_id} {record.id}"))
            await batch.execute()

    async def amend(self, record: SessionRecord, change: Change) -> None:
        name = session_key(record.tenant_id, record.id)
        for _ in range(AMEND_ATTEMPTS):
            async with reachable():
                value = await self._redis.get(name)
            stored = decode_session(value)
            if not isinstance(value, bytes) or stored is None or _owner_key(stored) != _owner_key(record):
                return
            self._sessions.drop((record.tenant_id, record.id))
            async with reachable():
                written = await self._redis.eval(
                    REPLACE_IF_EQUAL, 1, name, value, encode_record(change(stored)), _ms(self._limits.idle_seconds)
                )
                if written:
                    news = self._news.encode(f"session {record.tenant_id} {record.id}")
                    await self._redis.publish(self._channel, news)
                    return
        raise StorageUnavailable

    async def end(self, session_id: str, *, tenant_id: str) -> None:
        if SESSION_ID.fullmatch(session_id) is None:
            return
        async with reachable():
            value = await self._redis.get(session_key(tenant_id, session_id))
            record = decode_session(value)
            await self._end([session_id], tenant_id, None if record is None else _owner_key(record))

    async def find_upstream(self, key: str, *, tenant_id: str) -> UpstreamSessionRecord | None:
        name = (tenant_id, key)
        copy = self._upstream.get(name, newer_than=self._oldest_copy())
        if copy is not None:
            return copy
        ticket = self._upstream.ticket(name)
        try:
            async with reachable():
                value = await self._redis.getex(
                    upstream_session_key(tenant_id, key), px=_ms(self._limits.upstream_seconds)
                )
            record = decode_upstream(value)
            if record is not None:
                self._upstream.keep(name, record, ticket, now=self._clock.monotonic())
            return record
        finally:
            self._upstream.abandon(name, ticket)

    async def add_upstream(self, record: UpstreamSessionRecord, *, tenant_id: str) -> UpstreamSessionRecord:
        name = upstream_session_key(tenant_id, record.key)
        for _ in range(3):
            async with reachable():
                written = await self._redis.set(
                    name, encode_record(record), px=_ms(self._limits.upstream_seconds), nx=True
                )
            if written:
                return record
            winner = await self.find_upstream(record.key, tenant_id=tenant_id)
            if winner is not None:
                return winner
        async with reachable():  # a value that we cannot read stands in the way
            await self._redis.set(name, encode_record(record), px=_ms(self._limits.upstream_seconds))
        return record

    async def remove_upstream(self, key: str, *, tenant_id: str, session_id: str | None) -> None:
        self._upstream.drop((tenant_id, key))
        name = upstream_session_key(tenant_id, key)
        async with reachable():
            value = await self._redis.get(name)
            record = decode_upstream(value)
            if isinstance(value, bytes) and record is not None and record.session_id == session_id:
                await self._redis.eval(DELETE_IF_EQUAL, 1, name, value)
            await self._redis.publish(self._channel, self._news.encode(f"upstream {tenant_id} {key}"))

    async def _read(self, session_id: str, tenant_id: str, user_id: str, client_id: str | None) -> SessionRecord | None:
        """Read the record from Redis and slide its life, for its owner only."""
        if SESSION_ID.fullmatch(session_id) is None:
            return None
        name = (tenant_id, session_id)
        ticket = self._sessions.ticket(name)
        try:
            async with reachable():
                value = await self._redis.get(session_key(tenant_id, session_id))
                record = decode_session(value)
                if record is None or not is_owned_by(record, tenant_id=tenant_id, user_id=user_id, client_id=client_id):
                    return None
                await self._touch(record)
            self._sessions.keep(name, record, ticket, now=self._clock.monotonic())
            return record
        finally:
            self._sessions.abandon(name, ticket)

    async def _touch(self, record: SessionRecord) -> None:
        owned = _owner_key(record)
        batch = self._redis.pipeline(transaction=False)
        batch.pexpire(session_key(record.tenant_id, record.id), _ms(self._limits.idle_seconds))
        batch.zadd(owned, {record.id: self._clock.now().timestamp()}, xx=True)
        batch.pexpire(owned, _ms(self._limits.idle_seconds))
        await batch.execute()

    async def _end(self, session_ids: list[str], tenant_id: str, owned: str | None) -> None:
        for session_id in session_ids:
            self._sessions.drop((tenant_id, session_id))
        batch = self._redis.pipeline(transaction=True)
        batch.delete(*(session_key(tenant_id, session_id) for session_id in session_ids))
        if owned is not None:
            batch.zrem(owned, *session_ids)
        for session_id in session_ids:
            batch.publish(self._channel, self._news.encode(f"session {tenant_id} {session_id}"))
        await batch.execute()

    def _oldest_copy(self) -> float:
        return self._clock.monotonic() - (COPY_SECONDS if self._news.is_listening else DEAF_COPY_SECONDS)

    def _forget_copy(self, name: str) -> None:
        kind, tenant_id, key = name.split(" ", 2)
        if kind == "session":
            self._sessions.drop((tenant_id, key))
        else:
            self._upstream.drop((tenant_id, key))

    def _forget_copies(self) -> None:
        self._sessions.clear()
        self._upstream.clear()


def _owner_key(record: SessionRecord) -> str:
    return session_owner_key(record.tenant_id, record.user_id, record.client_id)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
