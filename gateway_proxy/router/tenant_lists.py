"""Everything held of one tenant's lists, and how a name or URI is looked up in them. Nothing is fetched for that here,
but once for what is missing.
"""

import asyncio
from dataclasses import dataclass, field

from gateway_proxy.backends.introduction import Introduction
from gateway_proxy.backends.upstreams import OnChange
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.kind_list import KindList, renew_for_miss
from gateway_proxy.router.listing import RESOURCES, TEMPLATES, TOOLS, ListKind
from gateway_proxy.router.names import server_of
from gateway_proxy.router.route import Route


@dataclass(slots=True)
class TenantLists:
    """What is held of one tenant. `tools` is among `lists`, and by itself because every call asks for it.

    `recalling` is under way while it is looked up what earlier workers listed.
    """

    tools: KindList
    lists: dict[ListKind, KindList]
    backends: tuple[Backend, ...] = ()
    on_change: dict[str, OnChange] = field(default_factory=dict)
    introductions: dict[str, Introduction] = field(default_factory=dict)
    watchers: set[OnChange] = field(default_factory=set)
    was_used: bool = True
    recalling: asyncio.Task[None] | None = None

    def changed(self, backend_id: str, method: str) -> None:
        """A backend said that one of its lists changed."""
        for kind, held in self.lists.items():
            shelf = held.shelves.get(backend_id) if kind.changed == method else None
            if shelf is not None and (kind is TOOLS or shelf.snapshot is not None):
                shelf.changed()
            elif shelf is not None:
                self.announce(method)  # nobody has looked here yet, but somebody may have at another worker

    def announce(self, method: str) -> None:
        """Tell whoever watches that a list is another one."""
        for watcher in list(self.watchers):
            watcher(method)


async def find_renamed(ctx: TenantContext, held: KindList, name: str) -> Route | None:
    """The name may be of a backend that this worker has not listed yet, or of something that is new there."""
    server = server_of(name)
    candidates = [shelf for shelf in held.shelves.values() if shelf.backend.name == server or len(held.shelves) == 1]
    if await renew_for_miss(candidates):
        route = held.view(ctx).routes.get(name)
        if route is not None:
            return route
    for shelf in candidates:
        if shelf.snapshot is None:
            raise shelf.unavailable()
    return None


def find_by_uri(ctx: TenantContext, held: TenantLists, uri: str) -> Route | None:
    templates = held.lists[TEMPLATES].view(ctx)
    route = held.lists[RESOURCES].view(ctx).routes.get(uri) or templates.routes.get(uri)
    if route is None and templates.templates is not None:
        found = templates.templates.find(uri)
        route = None if found is None else Route(found.backend, uri, uri)
    return route


def find_by_scheme(ctx: TenantContext, held: TenantLists, uri: str) -> Route | None:
    """The only backend that lists anything under the scheme of this URI; with several it would be a guess."""
    scheme, colon, _ = uri.partition(":")
    if not colon or "{" in scheme:
        return None
    views = [held.lists[kind].view(ctx) for kind in (RESOURCES, TEMPLATES)]
    found = {
        route.backend.id: route.backend
        for view in views
        for listed, route in view.routes.items()
        if listed.startswith(scheme + colon)
    }
    return Route(found.popitem()[1], uri, uri) if len(found) == 1 else None
