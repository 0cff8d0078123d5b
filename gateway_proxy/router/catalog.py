"""What a tenant's callers may list and call, merged from the snapshots of its backends. It never waits for a slow one.

Every answer comes from the last good snapshot of each backend; renewing goes on behind. Only the very first list of a
backend is waited for, for a few seconds. Prompts and resources are asked for only when somebody looks.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from gateway_proxy.backends.introduction import Introduction
from gateway_proxy.backends.runner_http import Fault
from gateway_proxy.backends.upstreams import OnChange, Upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import PromptUnknown, RelayError, ResourceUnknown, ToolUnknown
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.router.kind_list import KindList, renew_for_miss
from gateway_proxy.router.list_memory import ListMemory, NoListMemory, Place
from gateway_proxy.router.listing import KINDS, PROMPTS, RESOURCES, TEMPLATES, TOOLS, ListKind, Snapshot, fetch_snapshot
from gateway_proxy.router.offers import Offer, offer_of
from gateway_proxy.router.route import Route
from gateway_proxy.router.shelf import FIRST_WAIT
from gateway_proxy.router.status import BackendStatus, status_of
from gateway_proxy.router.tenant_lists import TenantLists, find_by_scheme, find_by_uri, find_renamed
from gateway_proxy.router.unlisted import Unlisted, find_unlisted
from gateway_proxy.router.view import ListPage, effective_naming

UNUSED_SECONDS: Final = 3600.0


class Catalog:
    """Lists and routes of every tenant, in this worker."""

    def __init__(
        self, directory: BackendDirectory, upstreams: Upstreams, clock: Clock, memory: ListMemory | None = None
    ) -> None:
        self._directory = directory
        self._upstreams = upstreams
        self._clock = clock
        self._memory = memory or NoListMemory()
        self._keeping: set[asyncio.Task[None]] = set()
        self._tenants: dict[str, TenantLists] = {}
        self._swept_at = clock.monotonic()

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ListPage:
        """One page of the tools that the caller may see, restricted to `servers` unless None.

        Raises:
            CursorInvalid: The cursor is not one of ours.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        return await self.list_kind(ctx, caller, TOOLS, cursor=cursor, servers=servers)

    async def list_kind(
        self,
        ctx: TenantContext,
        caller: Caller,
        kind: ListKind,
        *,
        cursor: str | None = None,
        servers: Collection[str] | None = None,
    ) -> ListPage:
        """One page of what the tenant has of a kind.

        Raises:
            CursorInvalid, StorageUnavailable: As `list_tools`.
        """
        held = (await self._held(ctx.tenant.id)).lists[kind]
        held.touch()
        await held.wait_for_first()
        return held.view(ctx).page(cursor, servers)

    async def offer(self, ctx: TenantContext, *, modern: bool = False) -> Offer:
        """What the tenant's backends can do together, as far as it is known by now.

        With `prefix: none` and one backend its own words are waited for, a few seconds once: it is the server then.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        held.tools.touch()
        is_alone = len(held.backends) == 1 and effective_naming(ctx.tenant.naming, held.backends).prefix == "none"
        if is_alone:
            await held.tools.wait_for_first(at_most=FIRST_WAIT)  # clients give `initialize` ten seconds
            if modern and (own := await self._introduce(held.backends[0])) is not None:
                return offer_of([own], is_alone=True)
        return offer_of([held.introductions.get(backend.id) for backend in held.backends], is_alone=is_alone)

    async def list_servers(self, ctx: TenantContext) -> dict[str, tuple[str, ...]]:
        """The listed tool names of every server, those that list none included.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        held.tools.touch()
        await held.tools.wait_for_first()
        names = held.tools.view(ctx).names_by_server()
        return {backend.name: names.get(backend.name, ()) for backend in held.backends}

    async def find_unlisted(self, ctx: TenantContext, servers: Collection[str] | None) -> tuple[Unlisted, ...]:
        """Which of `servers` (None = all) have never been listed and cannot be now; the first list is waited for.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        held.tools.touch()
        await held.tools.wait_for_first()
        return await find_unlisted(held, servers)

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
        held.tools.touch()
        return [status_of(ctx, held, backend, self._upstreams.trouble_of(backend)) for backend in held.backends]

    async def find_fault(self, ctx: TenantContext, name: str) -> tuple[Backend, Fault] | None:
        """Why the child of a backend that does not work ended or did not start; what it wrote is still as it wrote it.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        for backend in await self.list_backends(ctx):
            if backend.name == name and (fault := await self._upstreams.find_fault(backend)) is not None:
                return backend, fault
        return None

    async def find_route(self, ctx: TenantContext, name: str) -> Route:
        """Where the listed name of a tool, or the dotted alias `<server>.<tool>`, leads.

        Raises:
            ToolUnknown: Nowhere in this tenant.
            BackendUnavailable: To a backend that has not been listed yet and cannot be now.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        route = held.tools.view(ctx).routes.get(name)
        if route is not None:
            return route
        route = await find_renamed(ctx, held.tools, name)
        if route is None:
            raise ToolUnknown(name)
        return route

    async def find_prompt(self, ctx: TenantContext, name: str) -> Route:
        """Where the listed name of a prompt leads.

        Raises:
            PromptUnknown: Nowhere in this tenant.
            BackendUnavailable, StorageUnavailable: As `find_route`.
        """
        prompts = (await self._held(ctx.tenant.id)).lists[PROMPTS]
        route = prompts.view(ctx).routes.get(name) or await find_renamed(ctx, prompts, name)
        if route is None:
            raise PromptUnknown(name)
        return route

    async def find_resource(self, ctx: TenantContext, uri: str) -> Route:
        """Which backend answers for a URI: the one that lists it, else the one whose template it fits.

        Tools may give away links that are listed nowhere (2025-11-25, Resource Links): such a URI goes to the only
        backend there is, else to the only one that lists anything under its scheme. A template itself, as completion
        names it, is found like a listed URI.

        Raises:
            ResourceUnknown: No backend does.
            BackendUnavailable: None that has been listed does, and one could not be listed.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        if len(held.backends) == 1:
            return Route(held.backends[0], uri, uri)
        route = find_by_uri(ctx, held, uri)
        shelves = [shelf for kind in (RESOURCES, TEMPLATES) for shelf in held.lists[kind].shelves.values()]
        if route is None and await renew_for_miss(shelves):
            route = find_by_uri(ctx, held, uri)
        route = route or find_by_scheme(ctx, held, uri)
        if route is not None:
            return route
        for shelf in shelves:
            if shelf.snapshot is None:
                raise shelf.unavailable()
        raise ResourceUnknown(uri)

    async def find_only_backend(self, ctx: TenantContext) -> Backend | None:
        """The tenant's backend, if it has exactly one: what the gateway does not know goes there as it is.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        backends = (await self._held(ctx.tenant.id)).backends
        return backends[0] if len(backends) == 1 else None

    async def adopt_changes(self, tenant_id: str) -> None:
        """The tenant's definitions were edited: end what runs for those that are gone, begin to list the new ones.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        if tenant_id in self._tenants:
            (await self._held(tenant_id)).tools.touch()

    def on_change_of(self, backend: Backend) -> OnChange:
        """Who is to hear when this backend says that one of its lists changed."""
        held = self._tenants.get(backend.tenant_id)
        return _ignore_change if held is None else held.on_change.get(backend.id, _ignore_change)

    @asynccontextmanager
    async def watching(self, ctx: TenantContext, watcher: OnChange) -> AsyncIterator[None]:
        """Call `watcher` with `notifications/…/list_changed` whenever the tenant's callers should list again.

        It is called after the new list has come, so that whoever lists then sees it.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        held = await self._held(ctx.tenant.id)
        held.watchers.add(watcher)
        try:
            yield
        finally:
            held.watchers.discard(watcher)

    async def close(self) -> None:
        """Stop renewing, and let what was listed last be remembered."""
        for held in self._tenants.values():
            for kind_list in held.lists.values():
                await kind_list.close()
        await asyncio.gather(*self._keeping)

    async def _held(self, tenant_id: str) -> TenantLists:
        backends = await self._directory.list(tenant_id)
        held = self._tenants.get(tenant_id)
        if held is None:
            self._sweep()
            held = self._tenants[tenant_id] = self._new_tenant()
        if held.backends is not backends:
            self._adopt(held, backends)
            new = [
                (shelf.backend, kind)
                for kind, kind_list in held.lists.items()
                for shelf in kind_list.shelves.values()
                if shelf.snapshot is None
            ]
            held.recalling = asyncio.create_task(self._recall(held, new))
        if held.recalling is not None:
            await asyncio.shield(held.recalling)
        held.was_used = True
        return held

    def _new_tenant(self) -> TenantLists:
        lists: dict[ListKind, KindList] = {}

        def announce(method: str) -> None:
            held.announce(method)

        for kind in KINDS:
            lists[kind] = KindList(kind, self._fetch, self._clock, on_news=announce)
        held = TenantLists(lists[TOOLS], lists)
        return held

    def _adopt(self, held: TenantLists, backends: tuple[Backend, ...]) -> None:
        """The tenant's backends changed: what is held for those that did not is kept."""
        gone = [backend for backend in held.backends if backend not in backends]
        had_any = bool(held.backends)
        for kind_list in held.lists.values():
            kind_list.adopt(backends)
        for backend in gone:
            held.introductions.pop(backend.id, None)
            self._upstreams.retire(backend.id, backend.revision)
            if all(backend.name != other.name for other in backends):
                self._upstreams.forget_cache(backend)
        held.backends = backends
        held.on_change = {backend.id: partial(held.changed, backend.id) for backend in backends}
        if had_any:
            for method in dict.fromkeys(kind.changed for kind in KINDS):
                held.announce(method)

    async def _recall(self, held: TenantLists, new: Collection[Place]) -> None:
        """Begin with what earlier workers listed. Whoever asks meanwhile waits for that."""
        try:
            for (backend_id, kind), remembered in (await self._memory.recall(new)).items():
                held.lists[kind].recall(backend_id, remembered.snapshot, remembered.listed_at)
        finally:
            if held.recalling is asyncio.current_task():
                held.recalling = None

    def _keep(self, backend: Backend, snapshot: Snapshot) -> None:
        """Have it remembered, without anybody waiting for that."""
        task = asyncio.create_task(self._memory.keep(backend, snapshot), name="keep-list")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _fetch(self, kind: ListKind, backend: Backend) -> Snapshot:
        snapshot = await fetch_snapshot(self._upstreams, backend, kind, self.on_change_of(backend))
        held = self._tenants.get(backend.tenant_id)
        introduction = self._upstreams.find_introduction(backend)
        if held is not None and introduction is not None and backend in held.backends:
            held.introductions[backend.id] = introduction
        self._keep(backend, snapshot)
        return snapshot

    async def _introduce(self, backend: Backend) -> Introduction | None:
        """How the backend introduces itself to callers of 2026-07-28; None when that takes too long or fails."""
        try:
            async with asyncio.timeout(FIRST_WAIT):
                return await self._upstreams.introduce(backend, modern=True)
        except (RelayError, TimeoutError):
            return None

    def _sweep(self) -> None:
        """Forget tenants that nobody has asked for since the last sweep."""
        now = self._clock.monotonic()
        if now - self._swept_at < UNUSED_SECONDS:
            return
        self._swept_at = now
        for tenant_id, held in list(self._tenants.items()):
            if not held.was_used and not held.watchers:
                for kind_list in held.lists.values():
                    kind_list.abandon()
                del self._tenants[tenant_id]
            held.was_used = False


def _ignore_change(_: str) -> None:
    """For a backend that is gone meanwhile."""
