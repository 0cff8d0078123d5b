"""News of edits between workers: whoever keeps copies of definitions hears of them (compatibility D11)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import cast

import pytest
from redis.asyncio import Redis

from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.router.edit_news import Copies, EditNews
from gateway_proxy.storage.redis.client import open_redis


class Worker:
    """Stands in for the rooms of a worker that keep copies; `heard` is what they were told, `*` for everything."""

    def __init__(self, redis: Redis | None) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.models: asyncio.Queue[str] = asyncio.Queue()
        self.news = EditNews(redis, cast(BackendDirectory, self), cast(Catalog, self))
        self.news.add_copies(Copies(self.models.put_nowait, lambda: self.models.put_nowait("*")))

    def forget(self, tenant_id: str) -> None:
        """As the directory of backends has it."""
        self.heard.put_nowait(tenant_id)

    def forget_all(self) -> None:
        """As the directory of backends has it."""
        self.heard.put_nowait("*")

    async def adopt_changes(self, tenant_id: str) -> None:
        """As the catalog has it."""

    async def next_news(self) -> tuple[str, str]:
        """What both keepers of copies are told next."""
        async with asyncio.timeout(5):
            return await self.heard.get(), await self.models.get()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with aclosing(open_redis(redis_url)) as client:
        yield client


async def test_an_edit_is_heard_by_all_who_keep_copies_in_every_worker(redis: Redis) -> None:
    """B11, D11: here before the caller is answered, elsewhere as soon as the news arrives."""
    here, there = Worker(redis), Worker(redis)
    for worker in (here, there):
        await worker.news.start()
        assert await worker.next_news() == ("*", "*")
    try:
        await here.news.announce("t1")
        assert (here.heard.get_nowait(), here.models.get_nowait()) == ("t1", "t1")
        assert await there.next_news() == ("t1", "t1")
    finally:
        for worker in (here, there):
            await worker.news.stop()


async def test_after_a_time_of_deafness_every_copy_is_forgotten(redis: Redis) -> None:
    """Nobody knows what was said in the gap."""
    worker = Worker(redis)
    await worker.news.start()
    assert await worker.next_news() == ("*", "*")
    try:
        await redis.client_kill_filter(_type="pubsub")
        assert await worker.next_news() == ("*", "*")
    finally:
        await worker.news.stop()


async def test_without_redis_a_worker_tells_itself() -> None:
    """One process needs no Redis."""
    worker = Worker(None)
    await worker.news.start()
    await worker.news.announce("t1")
    assert await worker.next_news() == ("t1", "t1")
    await worker.news.stop()
