"""Pushes edits of backend definitions to every worker, so that a removed server is gone at once, not when a copy ages.

Only the tenant's id travels. Losing a message costs the two seconds that a worker's directory may be old.
"""

import asyncio
import contextlib

from redis.asyncio import Redis

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.storage.redis.keys import backend_news_channel
from gateway_proxy.storage.redis.news import News


class BackendNews:
    """`announce` after an edit was committed; `start` and `stop` with the worker."""

    def __init__(self, redis: Redis | None, directory: BackendDirectory, catalog: Catalog) -> None:
        self._directory = directory
        self._catalog = catalog
        self._adopting: set[asyncio.Task[None]] = set()
        channel = backend_news_channel()
        self._news = None if redis is None else News(redis, channel, heard=self._hear, reset=directory.forget_all)

    async def announce(self, tenant_id: str) -> None:
        """Look anew here, and have the other workers do so. Never fails: what cannot be told ages out by itself."""
        self._hear(tenant_id)
        if self._news is not None:
            await self._news.tell(tenant_id)

    async def start(self) -> None:
        """Begin to listen."""
        if self._news is not None:
            await self._news.start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._news is not None:
            await self._news.stop()
        for task in self._adopting:
            task.cancel()
        await asyncio.gather(*self._adopting, return_exceptions=True)

    def _hear(self, tenant_id: str) -> None:
        self._directory.forget(tenant_id)
        task = asyncio.create_task(self._adopt(tenant_id), name="backend-news")
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, tenant_id: str) -> None:
        with contextlib.suppress(StorageUnavailable):  # whoever asks next reads it
            await self._catalog.adopt_changes(tenant_id)
