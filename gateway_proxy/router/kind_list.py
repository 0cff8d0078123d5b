"""One kind of one tenant: a shelf per backend, and the view that they are merged into. It never waits by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.tenant import Naming, TenantContext
from gateway_proxy.router.listing import ListKind, Snapshot
from gateway_proxy.router.shelf import FIRST_LIST_WAIT, FIRST_WAIT, Shelf
from gateway_proxy.router.view import View, build_view, effective_naming

MISS_AGE: Final = 5.0
START_WAIT: Final = 30.0

FetchKind = Callable[[ListKind, Backend], Awaitable[Snapshot]]


class KindList:
    """The shelves by backend id. `adopt` follows the tenant's backends; the view is built when somebody looks."""

    def __init__(self, kind: ListKind, fetch: FetchKind, clock: Clock, *, on_news: Callable[[str], None]) -> None:
        """`on_news` is called with the kind's list_changed method when clients should list again."""
        self._on_news = on_news
        self.kind = kind
        self.shelves: dict[str, Shelf] = {}
        self._backends: tuple[Backend, ...] = ()
        self._fetch = fetch
        self._clock = clock
        self._view: View | None = None
        self._naming: Naming | None = None

    def adopt(self, backends: tuple[Backend, ...]) -> None:
        """The tenant has these backends: keep the shelves of those that did not change, abandon the others."""
        kept: dict[str, Shelf] = {}
        for backend in backends:
            known = self.shelves.get(backend.id)
            if known is not None and known.backend == backend:
                kept[backend.id] = self.shelves.pop(backend.id)
            else:
                kept[backend.id] = Shelf(backend, self._fetch_shelf, self._clock, on_news=self._outdate)
        for gone in self.shelves.values():
            gone.abandon()
        self._backends, self.shelves, self._view = backends, kept, None

    def recall(self, backend_id: str, snapshot: Snapshot, listed_at: datetime) -> None:
        """Put what is remembered of a backend where nothing was fetched yet."""
        shelf = self.shelves.get(backend_id)
        if shelf is not None:
            shelf.recall(snapshot, listed_at)
            self._view = None

    def view(self, ctx: TenantContext) -> View:
        """What is listed now."""
        naming = ctx.tenant.naming
        if self._view is None or (self._naming is not naming and self._naming != naming):
            held = [(backend, self.shelves[backend.id].snapshot) for backend in self._backends]
            self._view = build_view(ctx.tenant.id, self.kind, effective_naming(naming, self._backends), held)
            self._naming = naming
        return self._view

    def touch(self) -> None:
        """Somebody looks: renew what is due, in the background."""
        for shelf in self.shelves.values():
            shelf.touch()

    async def wait_for_first(self, *, at_most: float = FIRST_LIST_WAIT) -> None:
        """Give the very first lists of backends their few seconds."""
        waits = [wait for shelf in self.shelves.values() if (wait := shelf.first_wait()) is not None]
        if waits:
            await asyncio.wait([task for task, _ in waits], timeout=min(at_most, max(left for _, left in waits)))

    async def close(self) -> None:
        """Stop renewing."""
        for shelf in self.shelves.values():
            await shelf.close()

    def abandon(self) -> None:
        """Nobody will look at this again."""
        for shelf in self.shelves.values():
            shelf.abandon()

    def _outdate(self) -> None:
        """A snapshot is another one: the view has to be built anew."""
        self._view = None
        self._on_news(self.kind.changed)

    async def _fetch_shelf(self, backend: Backend) -> Snapshot:
        return await self._fetch(self.kind, backend)


async def renew_for_miss(shelves: Collection[Shelf]) -> bool:
    """Something is not in these lists: fetch those that are not quite new. True when the lists may be others now.

    A call is behind it, so a backend that was never listed is waited for no longer than a call of its own may take.
    """
    tasks = [task for shelf in shelves if (task := shelf.refresh_for_miss(older_than=MISS_AGE)) is not None]
    if tasks:
        patience = [min(START_WAIT, shelf.backend.timeout) for shelf in shelves if shelf.snapshot is None]
        await asyncio.wait(tasks, timeout=max(patience, default=FIRST_WAIT))
    return bool(tasks)
