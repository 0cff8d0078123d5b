"""The event log, in process and over Redis: one suite for both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.sessions.event_log import FIRST, KEEP_SECONDS, LOG_BYTES, MAX_MESSAGES, EventLog, LogName
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.redis_event_log import RedisEventLog
from gateway_proxy.storage.redis.client import open_redis
from tests.support.clock import FakeClock

SESSION = LogName("acme", "s1")
CALL = LogName("acme", "s1", "w.1")
OTHERS = [LogName("acme", "s2"), LogName("globex", "s1"), LogName("acme", "s1", "w.2")]

Open = Callable[[], Awaitable[EventLog]]


@pytest.fixture(params=["memory", "redis"])
async def open_log(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Open]:
    """The log as several workers see it."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            log = MemoryEventLog(clock)

            async def same() -> EventLog:
                return log

            yield same
            return
        redis = open_redis(request.getfixturevalue("redis_url"))
        stack.push_async_callback(redis.aclose)

        async def another() -> EventLog:
            return await stack.enter_async_context(RedisEventLog(redis))

        yield another


async def test_what_a_session_is_told_is_read_in_order_by_any_worker(open_log: Open) -> None:
    """relay.md 3: GET streams read the event log."""
    ours, theirs = await open_log(), await open_log()
    start = await ours.open(SESSION)
    for n in range(5):
        await theirs.tell(SESSION, b"m%d" % n)
    entries = await ours.read(SESSION, after=start)
    assert [entry.message for entry in entries] == [b"m0", b"m1", b"m2", b"m3", b"m4"]
    assert [entry.message for entry in await theirs.read(SESSION, after=entries[2].position)] == [b"m3", b"m4"]
    assert await ours.read(SESSION, after=entries[-1].position) == []
    assert await theirs.open(SESSION) == entries[-1].position


async def test_nothing_is_kept_for_a_session_that_never_listened(open_log: Open) -> None:
    """Most sessions open no stream; they must cost nothing."""
    log = await open_log()
    await log.tell(SESSION, b"m")
    assert await log.read(SESSION, after=FIRST) == []


async def test_logs_do_not_mix(open_log: Open) -> None:
    """Security T: tenant, session and call are all part of the name."""
    log = await open_log()
    await log.open(SESSION)
    for other in OTHERS:
        await log.open(other)
    await log.tell(SESSION, b"mine")
    await log.record(CALL, 1, b"call", is_last=False)
    for other in OTHERS:
        assert all(entry.message == b"" for entry in await log.read(other, after=FIRST))


async def test_a_calls_messages_keep_their_numbers_and_are_written_once(open_log: Open) -> None:
    """Event ids are promised to the client before the message is in the log."""
    log = await open_log()
    await log.record(CALL, 3, b"three", is_last=False)
    await log.record(CALL, 3, b"again", is_last=False)
    await log.record(CALL, 7, b"seven", is_last=True)
    entries = await log.read(CALL, after="2-0")
    assert [(entry.position, entry.message, entry.is_last) for entry in entries] == [
        ("3-0", b"three", False),
        ("7-0", b"seven", True),
    ]
    assert [entry.message for entry in await log.read(CALL, after="3-0")] == [b"seven"]


async def test_a_reader_is_woken_by_another_worker(open_log: Open) -> None:
    """A message is not kept waiting for the next look."""
    ours, theirs = await open_log(), await open_log()
    start = await ours.open(SESSION)
    with ours.watching(SESSION) as changed, ours.watching(OTHERS[0]) as other:
        await theirs.tell(SESSION, b"m")
        async with asyncio.timeout(5):
            await changed.wait()
        assert not other.is_set()
    assert [entry.message for entry in await ours.read(SESSION, after=start)] == [b"m"]


async def test_a_log_is_capped_and_the_oldest_make_room(open_log: Open) -> None:
    """Bounded memory, also for a client that never comes back."""
    log = await open_log()
    for n in range(1, MAX_MESSAGES + 300):
        await log.record(CALL, n, b"x", is_last=False)
    count, after = 0, FIRST
    while entries := await log.read(CALL, after=after):
        count, after = count + len(entries), entries[-1].position
    assert count <= MAX_MESSAGES + 200  # Redis trims by whole nodes
    assert after == f"{MAX_MESSAGES + 299}-0"


async def test_a_log_is_capped_in_bytes_too(open_log: Open) -> None:
    """security.md F7: a backend that announces a mebibyte each time must not fill Redis, or our memory."""
    log = await open_log()
    start = await log.open(SESSION)
    large = b"x" * (LOG_BYTES // 8)
    for _ in range(20):
        await log.tell(SESSION, large)
    assert 0 < sum(bool(entry.message) for entry in await log.read(SESSION, after=start)) <= 8


async def test_a_large_message_costs_the_small_ones_before_it_nothing(open_log: Open) -> None:
    """MCP 2025-11-25, Resumability: a client that comes back misses nothing while there is room for it."""
    log = await open_log()
    start = await log.open(SESSION)
    small = [b"m%d" % n for n in range(300)]
    for message in small:
        await log.tell(SESSION, message)
    large = b"x" * (LOG_BYTES - sum(map(len, small)))
    await log.tell(SESSION, large)
    assert await messages_of(log, after=start) == [*small, large]
    await log.tell(SESSION, b"last")
    assert await messages_of(log, after=start) == [*small[2:], large, b"last"]  # two of two bytes made room for four


async def test_a_sessions_log_keeps_the_latest_messages(open_log: Open) -> None:
    """Bounded memory, also for a client that never comes back."""
    log = await open_log()
    start = await log.open(SESSION)
    told = [b"m%d" % n for n in range(MAX_MESSAGES + 50)]
    for message in told:
        await log.tell(SESSION, message)
    assert await messages_of(log, after=start) == told[-MAX_MESSAGES:]


async def messages_of(log: EventLog, *, after: str) -> list[bytes]:
    """All that a session was told after a position."""
    messages: list[bytes] = []
    while entries := await log.read(SESSION, after=after):
        messages += [entry.message for entry in entries]
        after = entries[-1].position
    return messages


async def test_a_log_in_memory_ends_after_a_while(clock: FakeClock) -> None:
    """The same as the time to live in Redis."""
    log = MemoryEventLog(clock)
    await log.open(SESSION)
    clock.advance(KEEP_SECONDS - 1)
    await log.tell(SESSION, b"m")
    clock.advance(KEEP_SECONDS - 1)
    assert len(await log.read(SESSION, after=FIRST)) == 1
    clock.advance(2)
    assert await log.read(SESSION, after=FIRST) == []
    await log.tell(SESSION, b"m")
    assert await log.read(SESSION, after=FIRST) == []


async def test_every_key_has_a_time_to_live(redis_url: str) -> None:
    """house.md, Redis."""
    redis = open_redis(redis_url)
    async with RedisEventLog(redis) as log:
        await log.open(SESSION)
        await log.tell(SESSION, b"m")
        await log.record(CALL, 1, b"m", is_last=True)
    keys = await redis.keys()
    assert len(keys) == 3  # two logs, and the bytes of the first
    for key in keys:
        assert 0 < await redis.pttl(key) <= KEEP_SECONDS * 1000
    await redis.aclose()


async def test_an_outage_is_said(redis_url: str) -> None:
    """ADR 4: an outage is not an end."""
    redis = open_redis(redis_url)

    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionError

    async with RedisEventLog(redis) as log:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redis.connection_pool, "get_connection", refuse)
            for broken in (log.open(SESSION), log.tell(SESSION, b""), log.read(SESSION, after=FIRST)):
                with pytest.raises(StorageUnavailable):
                    await broken
    await redis.aclose()
