"""What only the Redis store has to prove: other workers' changes, no round trip when warm, Redis lost and back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord
from gateway_proxy.sessions.redis_store import COPY_SECONDS, RedisSessionStore
from tests.support.clock import FakeClock
from tests.support.tcp_link import TcpLink
from tests.unit.sessions.test_store import find

MakeSession = Callable[..., SessionRecord]
MakeUpstream = Callable[[str], UpstreamSessionRecord]


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[TcpLink]:
    """The way to Redis, which a test may cut."""
    async with TcpLink(redis_url) as link:
        yield link


@pytest.fixture
async def redis(link: TcpLink, redis_url: str) -> AsyncIterator[Redis]:
    """Redis behind the link, impatient."""
    given = urlsplit(redis_url)
    number = dict(parse_qsl(given.query)).get("db", given.path.strip("/") if given.scheme != "unix" else "0")
    user, at, _ = given.netloc.rpartition("@")
    client = Redis.from_url(
        f"redis://{user}{at}127.0.0.1:{link.port}/{number}",
        socket_timeout=1,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 1),
    )
    yield client
    await client.aclose()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(10):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def until_hearing(store: RedisSessionStore, expected: bool) -> None:
    """Wait until the store does, or does not, hear of other workers' changes."""

    async def as_expected() -> bool:
        return store.hears_news is expected

    await until(as_expected)


async def test_a_warm_session_costs_no_round_trip(
    redis: Redis, link: TcpLink, clock: FakeClock, session: MakeSession
) -> None:
    """performance.md: one Redis GET costs more than the whole call may."""
    record = session(tenant_id=new_id())  # nobody else on this Redis speaks of it
    async with RedisSessionStore(redis, clock) as store:
        await store.add(record)
        await find(store, record)
        before = link.bytes_sent
        for _ in range(100):
            assert await find(store, record) is not None
        assert link.bytes_sent == before

        clock.advance(COPY_SECONDS + 1)
        assert await find(store, record) is not None
        assert link.bytes_sent > before


async def test_another_worker_learns_of_an_end_and_of_a_change(
    redis: Redis, clock: FakeClock, session: MakeSession, upstream: MakeUpstream
) -> None:
    """relay.md 3: DELETE tombstones everywhere, through pub/sub and not by the age of a copy."""
    async with RedisSessionStore(redis, clock) as here, RedisSessionStore(redis, clock) as there:
        await here.add(session("changed"))
        await here.add(session("ended"))
        await here.add_upstream(upstream("a"), tenant_id="acme")
        for each in (session("changed"), session("ended")):
            assert await find(there, each) is not None
        assert await there.find_upstream("k", tenant_id="acme") is not None

        await here.replace(replace(session("changed"), log_level="debug"))
        await here.end("ended", tenant_id="acme")
        await here.remove_upstream("k", tenant_id="acme", session_id="a")

        async def has_heard() -> bool:
            changed = await find(there, session("changed"))
            assert changed is not None
            return (
                changed.log_level == "debug"
                and await find(there, session("ended")) is None
                and await there.find_upstream("k", tenant_id="acme") is None
            )

        await until(has_heard)


async def test_without_news_a_copy_is_good_for_two_seconds_only(
    redis: Redis, clock: FakeClock, session: MakeSession
) -> None:
    """Cache time ≤ 2 s without a subscription; the store below is not entered, so it hears nothing."""
    deaf = RedisSessionStore(redis, clock)
    async with RedisSessionStore(redis, clock) as here:
        await here.add(session())
        assert await find(deaf, session()) is not None
        await here.end("s1", tenant_id="acme")

        clock.advance(1.9)
        assert await find(deaf, session()) is not None
        clock.advance(0.2)
        assert await find(deaf, session()) is None


async def test_a_lost_redis_is_not_a_lost_session_and_mends_itself(
    redis: Redis, link: TcpLink, clock: FakeClock, session: MakeSession, upstream: MakeUpstream
) -> None:
    """Security O5: never a 404 for an outage, no restart needed afterwards."""
    async with RedisSessionStore(redis, clock) as store:
        await store.add(session())
        assert await find(store, session()) is not None
        await link.cut()
        clock.advance(COPY_SECONDS + 1)

        for attempt in (
            lambda: find(store, session()),
            lambda: store.add(session("s2")),
            lambda: store.replace(session()),
            lambda: store.end("s1", tenant_id="acme"),
            lambda: store.find_upstream("k", tenant_id="acme"),
            lambda: store.add_upstream(upstream("a"), tenant_id="acme"),
            lambda: store.remove_upstream("k", tenant_id="acme", session_id="a"),
        ):
            with pytest.raises(StorageUnavailable):
                await attempt()

        await link.mend()
        assert await find(store, session()) is not None


async def test_what_was_said_in_a_gap_is_not_missed(
    redis: Redis, link: TcpLink, redis_url: str, clock: FakeClock, session: MakeSession
) -> None:
    """After a broken subscription every copy is suspect, so all are dropped before the new one is trusted."""
    direct = Redis.from_url(redis_url)
    async with RedisSessionStore(redis, clock) as store, RedisSessionStore(direct, clock) as other:
        await store.add(session())
        assert await find(store, session()) is not None
        await link.cut()
        await until_hearing(store, False)
        await other.end("s1", tenant_id="acme")
        await link.mend()
        await until_hearing(store, True)

        assert await find(store, session()) is None
    await direct.aclose()


async def test_an_unreachable_redis_does_not_stop_the_start(
    redis: Redis, link: TcpLink, clock: FakeClock, session: MakeSession
) -> None:
    """Security O5: degraded, and well again when Redis is."""
    await link.cut()
    async with RedisSessionStore(redis, clock) as store:
        with pytest.raises(StorageUnavailable):
            await store.add(session())
        await link.mend()
        await store.add(session())
        await until_hearing(store, True)
        assert await find(store, session()) is not None


async def test_a_value_of_another_version_is_an_unknown_session(
    redis: Redis, clock: FakeClock, session: MakeSession
) -> None:
    """After a roll-back the older gateway meets what the newer one wrote; the client opens a new session."""
    async with RedisSessionStore(redis, clock) as store:
        await store.add(session())
        for key in await redis.keys("*:session:*"):
            await redis.set(key, b"\x02whatever", keepttl=True)

        assert await find(store, session()) is None


async def test_every_key_has_a_time_to_live_and_the_tenant_in_front(
    redis: Redis, clock: FakeClock, session: MakeSession, upstream: MakeUpstream
) -> None:
    """house.md, Redis; security T3."""
    async with RedisSessionStore(redis, clock) as store:
        await store.add(session(client_id="https://claude.ai/oauth/x:y{z}"))
        await store.add_upstream(upstream("a"), tenant_id="acme")

        keys = await redis.keys("*")
        assert len(keys) == 3
        for key in keys:
            assert isinstance(key, bytes)
            assert key.startswith(b"gw:1:{acme}:")
            assert await redis.pttl(key) > 0
