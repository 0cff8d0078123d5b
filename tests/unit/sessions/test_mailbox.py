"""The mailbox, in process and over Redis: one suite for both, and what only Redis can do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from gateway_proxy.domain.errors import LetterTooLarge, StorageUnavailable
from gateway_proxy.sessions.mailbox import MAX_BODY, Letter, Mailbox
from gateway_proxy.sessions.memory_mailbox import MemoryMailbox, PostOffice
from gateway_proxy.sessions.redis_mailbox import RedisMailbox
from gateway_proxy.storage.redis.client import open_redis
from gateway_proxy.storage.redis.keys import inbox_key, workers_key
from tests.support.clock import FakeClock

Open = Callable[[], Awaitable[Mailbox]]


@pytest.fixture(params=["memory", "redis"])
async def open_mailbox(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Open]:
    """Opens the mailboxes of workers that can reach each other."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            office = PostOffice()

            async def open_memory() -> Mailbox:
                return MemoryMailbox(office)

            yield open_memory
            return
        redis = open_redis(request.getfixturevalue("redis_url"))
        stack.push_async_callback(redis.aclose)

        async def open_over_redis() -> Mailbox:
            return await stack.enter_async_context(RedisMailbox(redis, clock))

        yield open_over_redis


class Reader:
    """Keeps what it reads."""

    def __init__(self, mailbox: Mailbox, kind: str = "answer") -> None:
        self.letters: asyncio.Queue[Letter] = asyncio.Queue()
        mailbox.on(kind, self.take)

    async def take(self, letter: Letter) -> None:
        self.letters.put_nowait(letter)

    async def next(self) -> Letter:
        """The next letter."""
        async with asyncio.timeout(5):
            return await self.letters.get()


def letter(ref: str = "r", kind: str = "answer", body: bytes = b"x") -> Letter:
    """A letter about Ann's session."""
    return Letter(kind, "acme", "ann", "s1", ref, body)


async def test_a_letter_reaches_its_worker_as_it_was_written(open_mailbox: Open) -> None:
    """relay.md 3: the answer goes to the worker that waits."""
    ours, theirs, third = await open_mailbox(), await open_mailbox(), await open_mailbox()
    reader, idle = Reader(theirs), Reader(third)
    body = bytes(range(256))
    assert await ours.send(theirs.worker_id, letter(body=body))
    taken = await reader.next()
    assert taken == Letter("answer", "acme", "ann", "s1", "r", body, ours.worker_id)
    assert idle.letters.empty()


async def test_letters_arrive_in_the_order_in_which_they_were_sent(open_mailbox: Open) -> None:
    """A result may come in parts."""
    ours, theirs = await open_mailbox(), await open_mailbox()
    reader = Reader(theirs)
    for n in range(50):
        await ours.send(theirs.worker_id, letter(str(n)))
    assert [(await reader.next()).ref for _ in range(50)] == [str(n) for n in range(50)]


async def test_a_worker_writes_to_itself_without_a_detour(open_mailbox: Open) -> None:
    """The embedded default, and the likelier case with few workers."""
    ours = await open_mailbox()
    reader = Reader(ours)
    assert await ours.send(ours.worker_id, letter())
    assert reader.letters.qsize() == 1


async def test_an_unknown_worker_is_said_to_be_unknown(open_mailbox: Open) -> None:
    """relay.md 6: a dead worker gives a clear error."""
    ours = await open_mailbox()
    assert not await ours.send("0123456789abcdef", letter())


async def test_a_broadcast_reaches_all_others_and_not_the_sender(open_mailbox: Open) -> None:
    """Nobody knows which worker serves a call that is cancelled."""
    ours, second, third = await open_mailbox(), await open_mailbox(), await open_mailbox()
    mine, readers = Reader(ours), [Reader(second), Reader(third)]
    await ours.broadcast(letter("b"))
    assert [(await reader.next()).ref for reader in readers] == ["b", "b"]
    assert mine.letters.empty()


async def test_a_letter_over_the_limit_is_refused_and_one_at_the_limit_is_not(open_mailbox: Open) -> None:
    """Security D1: nothing is carried without a cap."""
    ours, theirs = await open_mailbox(), await open_mailbox()
    reader = Reader(theirs)
    with pytest.raises(LetterTooLarge):
        await ours.send(theirs.worker_id, letter(body=b"x" * (MAX_BODY + 1)))
    assert await ours.send(theirs.worker_id, letter(body=b"x" * MAX_BODY))
    assert len((await reader.next()).body) == MAX_BODY


async def test_a_reader_that_fails_does_not_stop_the_letters_behind(open_mailbox: Open) -> None:
    """And a kind that nobody reads is dropped."""
    ours, theirs = await open_mailbox(), await open_mailbox()

    async def fail(_: Letter) -> None:
        raise ArithmeticError

    theirs.on("bad", fail)
    reader = Reader(theirs)
    for kind in ("bad", "unheard-of", "answer"):
        assert await ours.send(theirs.worker_id, letter(kind=kind))
    assert (await reader.next()).kind == "answer"


async def test_a_closed_worker_is_unknown_and_leaves_no_key(redis_url: str, clock: FakeClock) -> None:
    """issue 3: Redis keys return to base."""
    redis = open_redis(redis_url)
    async with RedisMailbox(redis, clock) as ours:
        async with RedisMailbox(redis, clock) as theirs:
            reader = Reader(theirs)
            await ours.send(theirs.worker_id, letter())
            await reader.next()
            assert 0 < await redis.pttl(workers_key()) <= 3_600_000
        assert not await ours.send(theirs.worker_id, letter())
    assert await redis.keys() == []
    await redis.aclose()


async def test_a_worker_that_fell_silent_gets_no_letters(redis_url: str, clock: FakeClock) -> None:
    """A killed worker cannot say good-bye."""
    redis = open_redis(redis_url)
    async with RedisMailbox(redis, clock) as ours:
        await redis.zadd(workers_key(), {"dead": clock.now().timestamp() + 15})
        assert await ours.send("dead", letter())
        assert 0 < await redis.pttl(inbox_key("dead")) <= 60_000
        clock.advance(16)
        assert not await ours.send("dead", letter())
    await redis.aclose()


async def test_letters_that_were_read_are_taken_from_redis(redis_url: str, clock: FakeClock) -> None:
    """Memory: an inbox holds what waits, not what was."""
    redis = open_redis(redis_url)
    async with RedisMailbox(redis, clock) as ours, RedisMailbox(redis, clock) as theirs:
        reader = Reader(theirs)
        for n in range(10):
            await ours.send(theirs.worker_id, letter(str(n)))
        for _ in range(10):
            await reader.next()
        async with asyncio.timeout(5):
            while await redis.xlen(inbox_key(theirs.worker_id)):
                await asyncio.sleep(0.01)
    await redis.aclose()


async def test_an_outage_is_said_and_not_mistaken_for_an_unknown_worker(redis_url: str, clock: FakeClock) -> None:
    """ADR 4: an outage is not an end."""
    redis = open_redis(redis_url)
    async with RedisMailbox(redis, clock) as ours:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redis.connection_pool, "get_connection", _refuse)
            with pytest.raises(StorageUnavailable):
                await ours.send("dead", letter())
            with pytest.raises(StorageUnavailable):
                await ours.broadcast(letter())
    await redis.aclose()


async def _refuse(*_: object, **__: object) -> None:
    raise ConnectionError
