"""Limits: one suite on both implementations, and what happens when Redis is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway_proxy.domain.errors import RateLimited
from gateway_proxy.limits.limiter import Limiter, open_limiter
from gateway_proxy.limits.local_window import LocalWindow
from gateway_proxy.storage.redis.client import open_redis
from gateway_proxy.storage.redis.keys import limit_key
from tests.support.clock import FakeClock
from tests.support.redis import through_port
from tests.support.tcp_link import TcpLink


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client = open_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[TcpLink]:
    """A way to Redis that a test may cut."""
    async with TcpLink(redis_url) as link:
        yield link


@pytest.fixture(params=["in process", "redis"])
def limiter(request: pytest.FixtureRequest, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Limiter:
    """Each implementation in turn. Redis is waited for: on a busy machine it must not be taken for one that is lost."""
    monkeypatch.setattr("gateway_proxy.limits.shared_window.ANSWER_SECONDS", 30.0)
    return open_limiter(request.getfixturevalue("redis") if request.param == "redis" else None, clock)


async def count_allowed(limiter: Limiter, tries: int, *parts: str, limit: int = 3, window: float = 60) -> int:
    """How many of so many tries are let through."""
    allowed = 0
    for _ in range(tries):
        try:
            await limiter.hit("sign-in", *parts, limit=limit, window=window)
            allowed += 1
        except RateLimited:
            pass
    return allowed


async def test_as_many_as_allowed_pass_and_the_next_is_told_how_long_to_wait(
    limiter: Limiter, clock: FakeClock
) -> None:
    """Security L2: Retry-After is true."""
    for _ in range(3):
        await limiter.hit("sign-in", "ann", limit=3, window=60)
        clock.advance(10)
    with pytest.raises(RateLimited) as refused:
        await limiter.hit("sign-in", "ann", limit=3, window=60)
    assert refused.value.retry_after == pytest.approx(30, abs=0.01)
    clock.advance(30.01)
    await limiter.hit("sign-in", "ann", limit=3, window=60)


async def test_refused_tries_do_not_prolong_the_wait(limiter: Limiter, clock: FakeClock) -> None:
    """Security L1: an attacker cannot lock a person out for ever by trying on."""
    assert await count_allowed(limiter, 10, "ann") == 3
    clock.advance(60.01)
    assert await count_allowed(limiter, 10, "ann") == 3


async def test_the_window_moves_and_does_not_start_anew_on_the_minute(limiter: Limiter, clock: FakeClock) -> None:
    """Security L2: no double burst around a boundary."""
    assert await count_allowed(limiter, 2, "ann") == 2
    clock.advance(59)
    assert await count_allowed(limiter, 5, "ann") == 1
    clock.advance(2)
    assert await count_allowed(limiter, 5, "ann") == 2


async def test_parts_and_names_are_counted_apart(limiter: Limiter) -> None:
    """Security L1: per account and per account with address."""
    assert await count_allowed(limiter, 5, "ann") == 3
    assert await count_allowed(limiter, 5, "ann", "192.0.2.1") == 3
    assert await count_allowed(limiter, 5, "bob") == 3
    await limiter.hit("register", "ann", limit=3, window=60)


async def test_a_reset_forgets_one_window_only(limiter: Limiter) -> None:
    """Security L1: a successful sign-in clears its own account."""
    await count_allowed(limiter, 3, "ann")
    await count_allowed(limiter, 3, "bob")
    await limiter.reset("sign-in", "ann")
    assert await count_allowed(limiter, 3, "ann") == 3
    assert await count_allowed(limiter, 3, "bob") == 0


async def test_concurrent_hits_never_pass_the_limit(limiter: Limiter) -> None:
    """Security L1: check and count are one step."""
    results = await asyncio.gather(*(count_allowed(limiter, 1, "ann", limit=10) for _ in range(50)))
    assert sum(results) == 10


async def test_a_limit_of_none_at_all_refuses_everything(limiter: Limiter) -> None:
    """Security L2: zero means zero, not unlimited."""
    assert await count_allowed(limiter, 3, "ann", limit=0) == 0


async def test_workers_share_their_windows_through_redis(redis: Redis, clock: FakeClock) -> None:
    """Security O7: nothing authoritative in process memory."""
    first, second = open_limiter(redis, clock), open_limiter(redis, clock)
    assert await count_allowed(first, 2, "ann") == 2
    assert await count_allowed(second, 5, "ann") == 1


async def test_keys_in_redis_expire_and_show_no_address(redis: Redis, clock: FakeClock) -> None:
    """House, Redis: each key with a TTL; nobody's address in a key."""
    await count_allowed(open_limiter(redis, clock), 1, "ann@example.com", "192.0.2.1")
    (key,) = await redis.keys("*")
    assert isinstance(key, bytes)
    assert key.decode() == limit_key("sign-in", ("ann@example.com", "192.0.2.1"))
    assert b"ann" not in key
    assert b"192" not in key
    assert 0 < await redis.pttl(key) <= 60_000


async def test_a_lost_redis_leaves_limits_that_act_at_once(link: TcpLink, redis_url: str, clock: FakeClock) -> None:
    """Security L3, F6: never unlimited; what this process let through before counts on."""
    redis = open_redis(through_port(redis_url, link.port))
    limiter = open_limiter(redis, clock)
    assert await count_allowed(limiter, 2, "ann") == 2
    await link.cut()
    assert await count_allowed(limiter, 10, "ann") == 1
    await limiter.reset("sign-in", "ann")
    assert await count_allowed(limiter, 10, "ann") == 3
    await redis.aclose()
    await link.mend()


async def test_a_failed_redis_is_left_alone_for_a_moment_and_then_asked_again(
    link: TcpLink, redis_url: str, clock: FakeClock
) -> None:
    """Security O5: no caller waits for a time-out again and again; recovery without a restart."""
    redis = open_redis(through_port(redis_url, link.port))
    limiter = open_limiter(redis, clock)
    await link.cut()
    assert await count_allowed(limiter, 1, "ann") == 1
    await link.mend()
    assert await count_allowed(limiter, 1, "ann") == 1
    assert await redis.keys("*") == []
    clock.advance(2.1)
    assert await count_allowed(limiter, 1, "ann") == 1
    assert len(await redis.keys("*")) == 1
    await redis.aclose()


async def test_memory_is_bounded_whatever_addresses_come(clock: FakeClock) -> None:
    """Security D5: an attacker with many addresses cannot fill the memory."""
    window = LocalWindow(clock, maximum_keys=100)
    for number in range(1000):
        await window.hit("sign-in", str(number), limit=3, window=60)
    assert len(window) == 100


async def test_windows_that_ended_are_forgotten(clock: FakeClock) -> None:
    """Issue 3: memory returns to base."""
    window = LocalWindow(clock)
    for number in range(100):
        await window.hit("sign-in", str(number), limit=3, window=60)
    clock.advance(61)
    for _ in range(101):
        await window.hit("sign-in", "ann", limit=1000, window=60)
    assert len(window) == 1


async def test_looking_whether_one_more_is_allowed_counts_nothing(limiter: Limiter) -> None:
    """Security L1: failures are counted when they are known, and refused before."""
    for _ in range(5):
        await limiter.hit("failures", "ann", limit=2, window=60, count=False)
    for _ in range(2):
        await limiter.hit("failures", "ann", limit=2, window=60)
    with pytest.raises(RateLimited):
        await limiter.hit("failures", "ann", limit=2, window=60, count=False)


async def test_looking_is_answered_by_this_process_while_redis_is_lost(
    link: TcpLink, redis_url: str, clock: FakeClock
) -> None:
    """Security L3: never unlimited."""
    client = open_redis(through_port(redis_url, link.port))
    limiter = open_limiter(client, clock)
    await limiter.hit("failures", "ann", limit=1, window=60)
    await link.cut()
    with pytest.raises(RateLimited):
        await limiter.hit("failures", "ann", limit=1, window=60, count=False)
    await client.aclose()
