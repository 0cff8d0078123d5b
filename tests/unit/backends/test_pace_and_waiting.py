"""What bounds a backend that says too much: its pace, and the queue of a reader who is slow."""

import asyncio

from gateway_proxy.backends.messages import Announcement
from gateway_proxy.backends.pace import Pace
from gateway_proxy.backends.waiting import WAITING_BYTES, WAITING_LIMIT, Waiting


async def _tell(pace: Pace, messages: int, size: int) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(messages):
        if pace.count(size):
            await pace.rest()
    return loop.time() - began


async def test_what_is_said_at_once_is_not_held_up_and_what_goes_on_is_held_to_its_rate() -> None:
    """security.md F7: an endless stream; short messages cost as well as long ones."""
    pace = Pace(rate=1024 * 1024, ahead=1.0)
    await _tell(pace, 256, 0)
    assert await _tell(pace, 64, 0) > 0.2
    assert await _tell(pace, 8, 32 * 1024) > 0.2


async def test_without_a_rate_others_have_their_turn_and_nothing_is_held_up() -> None:
    """Behind the runner: what is not read in time is lost there."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert await _tell(Pace(rate=None, ahead=0.0), 3200, 4096) < 5
    task.cancel()
    assert turns >= 100


async def test_a_reader_who_does_not_keep_up_is_told_so_before_memory_runs_out() -> None:
    """security.md D3: a slow reader is dropped; it is the bytes that matter, and the number."""
    for params, fits in ((b"x" * (WAITING_BYTES // 4), 4), (b"", WAITING_LIMIT)):
        waiting = Waiting()
        for _ in range(fits):
            waiting.put(Announcement("m", params))
        assert await waiting.take() == Announcement("m", params)
        waiting.put(Announcement("m", params))
        waiting.put(Announcement("m", params))
        assert await waiting.take() is None


async def test_one_announcement_always_fits() -> None:
    """However large it may be, it was read already."""
    waiting = Waiting()
    large = Announcement("m", b"x" * (WAITING_BYTES + 1))
    waiting.put(large)
    assert await waiting.take() is large
