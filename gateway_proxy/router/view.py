"""One merged list of a tenant as bytes, with names rewritten, and the routes behind them. Built, never changed."""

import base64
import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import CursorInvalid
from gateway_proxy.domain.tenant import Naming
from gateway_proxy.router.listing import TEMPLATES, ListKind, Snapshot, min_ttl
from gateway_proxy.router.names import Original, alias_of, listed_names
from gateway_proxy.router.param_headers import read_param_headers
from gateway_proxy.router.route import Route
from gateway_proxy.router.templates import TemplateTable

PAGE_ITEMS: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024
KEPT_PAGES: Final = 16
_CURSOR_VERSION: Final = b"1"


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of definitions with names rewritten; `raw` is the same as one JSON array.

    `ttl_ms` is the shortest time for which one of the backends calls its list fresh; None when none says.
    """

    definitions: tuple[bytes, ...]
    raw: bytes
    next_cursor: str | None
    ttl_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed item; `name` is what clients know it by, its URI for a resource."""

    name: str
    server: str
    definition: bytes


class View:
    """What one tenant lists of one kind at one moment, in the order of the names clients see."""

    def __init__(
        self,
        scope: str,
        entries: Iterable[Entry],
        routes: dict[str, Route],
        *,
        templates: TemplateTable[Route] | None = None,
        clashes: dict[str, list[str]] | None = None,
        ttl_ms: int | None = None,
    ) -> None:
        """`scope` ties cursors to this list. `clashes` are the names that another server of the tenant answers for."""
        self._scope = scope
        self.entries = tuple(sorted(entries, key=lambda entry: entry.name))
        self.routes = routes
        self.templates = templates
        self.clashes = clashes or {}
        self._ttl_ms = ttl_ms
        self._first: dict[frozenset[str] | None, ListPage] = {}

    def page(self, cursor: str | None, servers: Collection[str] | None) -> ListPage:
        """The page after `cursor`, the first without one; only of `servers` unless None.

        Raises:
            CursorInvalid: The cursor is not one of ours for this tenant.
        """
        if not cursor:  # an empty one is none: some clients send it with the first request
            return self._first_page(None if servers is None else frozenset(servers))
        entries = self.entries if servers is None else tuple(e for e in self.entries if e.server in servers)
        return self._cut(entries, bisect_right([entry.name for entry in entries], self._read_cursor(cursor)))

    def _first_page(self, servers: frozenset[str] | None) -> ListPage:
        """The same object every time, for the few selections that assistants make."""
        page = self._first.get(servers)
        if page is None:
            entries = self.entries if servers is None else tuple(e for e in self.entries if e.server in servers)
            page = self._cut(entries, 0)
            if len(self._first) < KEPT_PAGES:
                self._first[servers] = page
        return page

    def names_by_server(self) -> dict[str, tuple[str, ...]]:
        """The listed names of each server that lists any."""
        found: dict[str, list[str]] = {}
        for entry in self.entries:
            found.setdefault(entry.server, []).append(entry.name)
        return {server: tuple(names) for server, names in found.items()}

    def _cut(self, entries: tuple[Entry, ...], start: int) -> ListPage:
        size, end = 0, start
        while end < len(entries) and end - start < PAGE_ITEMS:
            size += len(entries[end].definition)
            if size > PAGE_BYTES and end > start:
                break
            end += 1
        definitions = tuple(entry.definition for entry in entries[start:end])
        cursor = self._write_cursor(entries[end - 1].name) if end < len(entries) else None
        return ListPage(definitions, b"[" + b",".join(definitions) + b"]", cursor, self._ttl_ms)

    def _write_cursor(self, name: str) -> str:
        body = name.encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(_CURSOR_VERSION + self._mark(body) + body).decode("ascii")

    def _read_cursor(self, cursor: str) -> str:
        try:
            data = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
            version, mark, body = data[:1], data[1:9], data[9:]
            if version != _CURSOR_VERSION or mark != self._mark(body):
                raise CursorInvalid
            return body.decode("utf-8", "surrogatepass")
        except ValueError:
            raise CursorInvalid from None

    def _mark(self, body: bytes) -> bytes:
        """Ties a cursor to its list, so that one from elsewhere is refused and not misread. Not a secret."""
        return hashlib.sha256(self._scope.encode() + b"\0" + body).digest()[:8]


def build_view(
    tenant_id: str, kind: ListKind, naming: Naming, shelves: Iterable[tuple[Backend, Snapshot | None]]
) -> View:
    """Merge snapshots. A backend without one lists nothing."""
    held = [(backend, snapshot) for backend, snapshot in shelves if snapshot is not None]
    scope = f"{tenant_id}\0{kind.method}"
    return _by_name(scope, naming, held) if kind.is_renamed else _by_uri(scope, kind, held)


def _by_name(scope: str, naming: Naming, held: list[tuple[Backend, Snapshot]]) -> View:
    """Every name is made unique (names.py); listed names win over aliases."""
    entries: list[Entry] = []
    routes: dict[str, Route] = {}
    aliases: dict[str, Route] = {}
    for backend, snapshot in held:
        originals = [Original(backend.name, item.name) for item in snapshot.items]
        for original, item, name in zip(originals, snapshot.items, listed_names(originals, naming), strict=True):
            route = Route(backend, name, item.name, read_param_headers(item.with_name(snapshot.kind, name)))
            routes[name] = route
            aliases.setdefault(alias_of(original), route)
            aliases.setdefault(f"{backend.name}__{item.name}", route)
            entries.append(Entry(name, backend.name, item.with_name(snapshot.kind, name)))
    return View(scope, entries, aliases | routes, ttl_ms=_shortest(held))


def _by_uri(scope: str, kind: ListKind, held: list[tuple[Backend, Snapshot]]) -> View:
    """URIs stay what they are. One that several backends offer is the first backend's, by name."""
    entries: list[Entry] = []
    routes: dict[str, Route] = {}
    clashes: dict[str, list[str]] = {}
    for backend, snapshot in held:
        for item in snapshot.items:
            if item.name in routes:
                other = routes[item.name].backend.name
                clashes.setdefault(backend.name, []).append(f"{item.name[:80]!r} is answered for by {other!r}")
                continue
            routes[item.name] = Route(backend, item.name, item.name)
            entries.append(Entry(item.name, backend.name, item.with_name(kind, item.name)))
    templates = TemplateTable(routes.items()) if kind is TEMPLATES else None
    return View(scope, entries, routes, templates=templates, clashes=clashes, ttl_ms=_shortest(held))


def _shortest(held: list[tuple[Backend, Snapshot]]) -> int | None:
    return min_ttl(*(snapshot.ttl_ms for _, snapshot in held))


def effective_naming(naming: Naming, backends: Collection[Backend]) -> Naming:
    """`prefix: none` is for one backend; with more, names could clash, so they take their server's prefix."""
    return Naming("server", naming.separator) if naming.prefix == "none" and len(backends) > 1 else naming
