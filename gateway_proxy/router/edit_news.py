"""Pushes edits of a tenant's definitions to every worker: what was removed is gone at once, not when copies age.

Only the tenant's id travels. Losing a message costs the two seconds that a worker's copies may be old.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.storage.redis.keys import edit_news_channel
from gateway_proxy.storage.redis.news import News


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of definitions that somebody keeps: how those of one tenant are forgotten, and all."""

    forget: Callable[[str], None]
    forget_all: Callable[[], None]


class EditNews:
    """`announce` after an edit was committed; `start` and `stop` with the worker.

    Whoever keeps copies of definitions besides the directory of backends (assistants, providers) adds them here.
    """

    def __init__(self, redis: Redis | None, directory: BackendDirectory, catalog: Catalog) -> None:
        self._catalog = catalog
        self._copies = [Copies(directory.forget, directory.forget_all)]
        self._adopting: set[asyncio.Task[None]] = set()
        self._news = News(redis, edit_news_channel(), heard=self._hear, reset=self._reset)

    def add_copies(self, copies: Copies) -> None:
        """Have these forgotten as well, from now on."""
        self._copies.append(copies)

    async def announce(self, tenant_id: str) -> None:
        """Look anew here, and have the other workers do so. Never fails: what cannot be told ages out by itself."""
        self._hear(tenant_id)
        await self._news.tell(tenant_id)

    async def start(self) -> None:
        """Begin to listen."""
        await self._news.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._news.stop()
        for task in self._adopting:
            task.cancel()
        await asyncio.gather(*self._adopting, return_exceptions=True)

    def _hear(self, tenant_id: str) -> None:
        for copies in self._copies:
            copies.forget(tenant_id)
        task = asyncio.create_task(self._adopt(tenant_id), name="edit-news")
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _reset(self) -> None:
        for copies in self._copies:
            copies.forget_all()

    async def _adopt(self, tenant_id: str) -> None:
        with contextlib.suppress(StorageUnavailable):  # whoever asks next reads it
            await self._catalog.adopt_changes(tenant_id)
