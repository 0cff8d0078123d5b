"""One queue per key (security L1)."""

import asyncio

import pytest

from gateway_proxy.browser.queues import Queues
from gateway_proxy.domain.errors import RateLimited


class Work:
    """Takes turns, and holds them until it is told to end."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._end = asyncio.Event()
        self.at_work: list[str] = []

    async def run(self, key: str) -> None:
        """One turn."""
        async with self._queues.turn(key):
            self.at_work.append(key)
            await self._end.wait()

    def end(self) -> None:
        """Let everybody go."""
        self._end.set()


async def _let_them_come() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_flood_of_one_key_waits_behind_itself_and_others_have_their_turn() -> None:
    """Security L1: so many at once, whoever sends them."""
    queues = Queues(2, 10)
    work = Work(queues)
    async with asyncio.TaskGroup() as group:
        for key in ["flood"] * 9 + ["other"]:
            group.create_task(work.run(key))
        await _let_them_come()
        assert work.at_work == ["flood", "flood", "other"]
        work.end()
    assert len(work.at_work) == 10
    assert len(queues) == 0


async def test_a_full_queue_takes_nobody_more() -> None:
    """Security L1: bounded memory; the place of who went is free again."""
    queues = Queues(1, 2)
    work = Work(queues)
    async with asyncio.TaskGroup() as group:
        group.create_task(work.run("a"))
        waiting = group.create_task(work.run("a"))
        await _let_them_come()
        with pytest.raises(RateLimited):
            await work.run("a")
        waiting.cancel()
        await _let_them_come()
        work.end()
        await work.run("a")
    assert len(queues) == 0
