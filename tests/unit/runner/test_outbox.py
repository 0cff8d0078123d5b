"""A bounded queue to one reader."""

import asyncio

from gateway_proxy.runner.outbox import Batch, Outbox


async def test_messages_are_taken_together_and_in_order() -> None:
    """One write for what has gathered."""
    outbox = Outbox()
    assert outbox.put(b"a")
    assert outbox.put(b"b")
    outbox.finish(b"c")
    assert await outbox.take() == Batch((b"a", b"b", b"c"), last=True)
    assert not outbox.put(b"d")


async def test_a_full_queue_takes_nothing_but_the_final_message() -> None:
    """security.md D3: 1 MiB queue; the result is never lost to progress."""
    outbox = Outbox(limit=10)
    assert outbox.put(b"x" * 50)  # the first always fits: it is bounded by the line cap
    assert not outbox.put(b"y")
    outbox.finish(b"z" * 50)
    assert await outbox.take() == Batch((b"x" * 50, b"z" * 50), last=True)


async def test_room_is_made_by_taking() -> None:
    """The limit is on what waits."""
    outbox = Outbox(limit=10)
    for _ in range(5):
        assert outbox.put(b"x" * 10)
        assert not outbox.put(b"y")
        assert (await outbox.take()) == Batch((b"x" * 10,))


async def test_a_reader_waits_for_a_message_or_its_time() -> None:
    """The time-out is for heartbeats."""
    outbox = Outbox()
    assert await outbox.take(0.01) is None
    taking = asyncio.create_task(outbox.take(10))
    await asyncio.sleep(0)
    outbox.put(b"a")
    assert await taking == Batch((b"a",))


async def test_a_dropped_reader_is_told_and_what_waited_is_forgotten() -> None:
    """Whoever drops a reader frees its memory at once."""
    outbox = Outbox()
    outbox.put(b"a")
    outbox.drop()
    assert await outbox.take() == Batch((), last=True, dropped=True)
    outbox.finish(b"late")
    assert await outbox.take() == Batch((), last=True, dropped=True)
