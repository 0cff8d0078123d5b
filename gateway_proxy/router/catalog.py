"""What a tenant's callers may list and call, merged from the snapshots of its backends. It never waits for a slow one.

Every answer comes from the last good snapshot of each backend; renewing goes on behind. Only the very first list of a
backend is waited for, for a few seconds.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway_proxy.backends.upstreams import OnChange, Upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import BackendUnavailable, ToolUnknown
from gateway_proxy.domain.tenant import Naming, TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.router.listing import TOOLS, Snapshot, fetch_snapshot
from gateway_proxy.router.names import server_of
from gateway_proxy.router.route import Route
from gateway_proxy.router.shelf import FIRST_WAIT, Shelf, State
from gateway_proxy.router.view import ToolPage, View, build_view, effective_naming

MISS_AGE: Final = 5.0
START_WAIT: Final = 30.0
UNUSED_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """How one backend is doing. `problem` and `notes` are our own phrases; `listed_at` is of the snapshot served."""

    name: str
    transport: str
    state: State
    tools: int
    problem: str | None
    notes: tuple[str, ...]
    listed_at: datetime | None


@dataclass(slots=True)
class _TenantShelves:
    backends: tuple[Backend, ...] = ()
    shelves: dict[str, Shelf] = field(default_factory=dict)
    view: View | None = None
    naming: Naming | None = None
    was_used: bool = True

    def outdate(self) -> None:
        """A snapshot is another one: the view has to be built anew."""
        self.view = None


class Catalog:
    """Lists and routes of every tenant, in this worker."""

    def __init__(self, directory: BackendDirectory, upstreams: Upstreams, clock: Clock) -> None:
        self._directory = directory
        self._upstreams = upstreams
        self._clock = clock
        self._tenants: dict[str, _TenantShelves] = {}
        self._swept_at = clock.monotonic()

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ToolPage:
        """One page of the tools that the caller may see, restricted to `servers` unless None.

        Raises:
            CursorInvalid: The cursor is not one of ours.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        return (await self._settled_view(ctx)).page(cursor, servers)

    async def list_servers(self, ctx: TenantContext) -> dict[str, tuple[str, ...]]:
        """The listed tool names of every server, those that list none included.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        view = await self._settled_view(ctx)
        names = view.names_by_server()
        return {backend.name: names.get(backend.name, ()) for backend in self._tenants[ctx.tenant.id].backends}

    async def list_backends(self, ctx: TenantContext) -> tuple[Backend, ...]:
        """The tenant's enabled backends, by name.

        Raises:
            StorageUnavailable: They cannot be read.
        """
        return (await self._held(ctx.tenant.id)).backends

    async def status(self, ctx: TenantContext) -> list[BackendStatus]:
        """How each backend of the tenant is doing, by name.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        for shelf in held.shelves.values():
            shelf.touch()
        return [_status_of(held.shelves[backend.id]) for backend in held.backends]

    async def find_route(self, ctx: TenantContext, name: str) -> Route:
        """Where a listed name, or the dotted alias `<server>.<tool>`, leads.

        Raises:
            ToolUnknown: Nowhere in this tenant.
            BackendUnavailable: To a backend that has not been listed yet and cannot be now.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        route = self._view(ctx, held).routes.get(name)
        if route is not None:
            return route
        return await self._find_missing(ctx, held, name)

    async def adopt_changes(self, tenant_id: str) -> None:
        """The tenant's definitions were edited: end what runs for those that are gone, begin to list the new ones.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        if tenant_id not in self._tenants:
            return
        for shelf in (await self._held(tenant_id)).shelves.values():
            shelf.touch()

    def on_change_of(self, backend: Backend) -> OnChange:
        """Who is to hear when this backend says that its list changed."""
        held = self._tenants.get(backend.tenant_id)
        shelf = held.shelves.get(backend.id) if held is not None else None
        return _ignore_change if shelf is None else shelf.changed

    async def close(self) -> None:
        """Stop renewing."""
        for held in self._tenants.values():
            for shelf in held.shelves.values():
                await shelf.close()

    async def _settled_view(self, ctx: TenantContext) -> View:
        """The view, after the first lists have come or have had their chance."""
        held = await self._held(ctx.tenant.id)
        for shelf in held.shelves.values():
            shelf.touch()
        await _wait_for_first(held.shelves.values())
        return self._view(ctx, held)

    async def _held(self, tenant_id: str) -> _TenantShelves:
        backends = await self._directory.list(tenant_id)
        held = self._tenants.get(tenant_id)
        if held is None:
            self._sweep()
            held = self._tenants[tenant_id] = _TenantShelves()
        if held.backends is not backends:
            self._adopt(held, backends)
        held.was_used = True
        return held

    def _adopt(self, held: _TenantShelves, backends: tuple[Backend, ...]) -> None:
        """The tenant's backends changed: keep the shelves of those that did not."""
        shelves: dict[str, Shelf] = {}
        for backend in backends:
            known = held.shelves.pop(backend.id, None)
            if known is not None and known.backend == backend:
                shelves[backend.id] = known
                continue
            shelves[backend.id] = Shelf(backend, self._fetch, self._clock, on_news=held.outdate)
            if known is not None:
                held.shelves[backend.id] = known
        for gone in held.shelves.values():
            gone.abandon()
            self._upstreams.retire(gone.backend.id, gone.backend.revision)
        held.backends, held.shelves, held.view = backends, shelves, None

    def _view(self, ctx: TenantContext, held: _TenantShelves) -> View:
        naming = ctx.tenant.naming
        if held.view is None or (held.naming is not naming and held.naming != naming):
            shelves = [(backend, held.shelves[backend.id].snapshot) for backend in held.backends]
            held.view = build_view(ctx.tenant.id, effective_naming(naming, held.backends), shelves)
            held.naming = naming
        return held.view

    async def _find_missing(self, ctx: TenantContext, held: _TenantShelves, name: str) -> Route:
        """The name may be of a backend that this worker has not listed yet, or of a tool that is new there."""
        server = server_of(name)
        candidates = [
            shelf for shelf in held.shelves.values() if shelf.backend.name == server or len(held.shelves) == 1
        ]
        tasks = [task for shelf in candidates if (task := shelf.refresh_for_miss(older_than=MISS_AGE)) is not None]
        if tasks:
            is_first = any(shelf.snapshot is None for shelf in candidates)
            await asyncio.wait(tasks, timeout=START_WAIT if is_first else FIRST_WAIT)
            route = self._view(ctx, held).routes.get(name)
            if route is not None:
                return route
        for shelf in candidates:
            if shelf.snapshot is None:
                raise BackendUnavailable(shelf.backend.name, None, shelf.problem or "it is still being started")
        raise ToolUnknown(name)

    async def _fetch(self, backend: Backend) -> Snapshot:
        return await fetch_snapshot(self._upstreams, backend, TOOLS, self.on_change_of(backend))

    def _sweep(self) -> None:
        """Forget tenants that nobody has asked for since the last sweep."""
        now = self._clock.monotonic()
        if now - self._swept_at < UNUSED_SECONDS:
            return
        self._swept_at = now
        for tenant_id, held in list(self._tenants.items()):
            if not held.was_used:
                for shelf in held.shelves.values():
                    shelf.abandon()
                del self._tenants[tenant_id]
            held.was_used = False


async def _wait_for_first(shelves: Collection[Shelf]) -> None:
    waits = [wait for shelf in shelves if (wait := shelf.first_wait()) is not None]
    if waits:
        await asyncio.wait([task for task, _ in waits], timeout=max(left for _, left in waits))


def _status_of(shelf: Shelf) -> BackendStatus:
    snapshot = shelf.snapshot
    return BackendStatus(
        name=shelf.backend.name,
        transport=shelf.backend.transport.value,
        state=shelf.state,
        tools=0 if snapshot is None else len(snapshot.items),
        problem=shelf.problem,
        notes=() if snapshot is None else snapshot.notes,
        listed_at=shelf.listed_at,
    )


def _ignore_change(_: str) -> None:
    """For a backend that is gone meanwhile."""
