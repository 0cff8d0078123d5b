"""Fetching what a backend lists, page by page and within limits, into a snapshot of bytes. Nothing is cached here."""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.envelope import EMPTY, Fields, quote, raw_bytes, read_fields, write_fields
from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.messages import OUTCOMES, Failure, Result, ServerRequest
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.backends.upstreams import OnChange, Upstreams
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import BackendMisbehaved, BackendTimeout
from gateway_proxy.router.definitions import DefinitionUnusable, mend

MAX_ITEMS: Final = 500
MAX_DEFINITION: Final = 64 * 1024
MAX_LIST: Final = 4 * 1024 * 1024
MAX_PAGES: Final = 100
MAX_NAME: Final = 1024
LIST_TIMEOUT: Final = 60.0
METHOD_NOT_FOUND: Final = -32601


@dataclass(frozen=True, slots=True, eq=False)
class ListKind:
    """A kind of thing that backends list: the method, the member with the items, and what an item is known by.

    `capability` is under which a backend declares that it has any, `changed` how it says that there are others now.
    `is_renamed` says that clients know the items by names of ours; a URI stays what it is.
    """

    method: str
    member: str
    key: str
    capability: str
    changed: str
    is_renamed: bool


TOOLS: Final = ListKind("tools/list", "tools", "name", "tools", "notifications/tools/list_changed", True)
PROMPTS: Final = ListKind("prompts/list", "prompts", "name", "prompts", "notifications/prompts/list_changed", True)
RESOURCES: Final = ListKind(
    "resources/list", "resources", "uri", "resources", "notifications/resources/list_changed", False
)
TEMPLATES: Final = ListKind(
    "resources/templates/list",
    "resourceTemplates",
    "uriTemplate",
    "resources",
    "notifications/resources/list_changed",
    False,
)
KINDS: Final = (TOOLS, PROMPTS, RESOURCES, TEMPLATES)


@dataclass(frozen=True, slots=True)
class Item:
    """One definition: its upstream name, and all its other members as the bytes that follow the name."""

    name: str
    tail: bytes

    def with_name(self, kind: ListKind, name: str) -> bytes:
        """The definition under the name that clients see."""
        return b'{"%b":%b%b' % (kind.key.encode(), quote(name), self.tail)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a backend listed at one moment. `notes` say in our words what was left out and why.

    `ttl_ms` is how long the backend calls it fresh (2026-07-28, Caching); None when it does not say.
    """

    kind: ListKind
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    ttl_ms: int | None = None


class _Page(msgspec.Struct):
    nextCursor: str | None = None  # noqa: N815 - the name on the wire
    ttlMs: Raw = EMPTY  # noqa: N815 - the name on the wire


_page: Final = msgspec.json.Decoder(_Page)
_items: Final = msgspec.json.Decoder(list[Raw])


async def fetch_snapshot(upstreams: Upstreams, backend: Backend, kind: ListKind, on_change: OnChange) -> Snapshot:
    """All pages of one list of one backend, at most `list_seconds`.

    Only for tools is a backend asked that does not declare to have any.

    Raises:
        RelayError: The backend cannot be reached, refuses, or answers with something else.
    """
    collected = _Collected(kind)
    cursor: str | None = None
    seconds = list_seconds(backend)
    try:
        async with asyncio.timeout(seconds):
            if kind is not TOOLS and not (await upstreams.introduce(backend)).has(kind.capability):
                return Snapshot(kind, (), ())
            for _ in range(MAX_PAGES):
                result = await _fetch_page(upstreams, backend, kind, cursor, on_change)
                if result is None:
                    break
                cursor = collected.take_page(result, backend.name)
                if cursor is None or collected.is_full:
                    break
            else:
                collected.note(f"it did not end its list after {MAX_PAGES} pages")
    except TimeoutError:
        raise BackendTimeout(backend.name, seconds) from None
    for note in upstreams.notes_of(backend):
        collected.note(note)
    return Snapshot(kind, tuple(collected.items.values()), tuple(collected.notes), collected.ttl_ms)


def list_seconds(backend: Backend) -> float:
    """The most that a list may take. Nobody waits for it that long, and a program may have to be started for it."""
    return LIST_TIMEOUT + (backend.start_timeout if backend.transport is Transport.STDIO else 0.0)


async def _fetch_page(
    upstreams: Upstreams, backend: Backend, kind: ListKind, cursor: str | None, on_change: OnChange
) -> bytes | None:
    """One page's `result`; None when the backend has nothing of the kind."""
    fields = {} if cursor is None else {"cursor": Raw(quote(cursor))}
    started = await upstreams.start_shared(
        backend, UpstreamRequest(kind.method, fields), timeout=list_seconds(backend), on_change=on_change
    )
    outcome = started if isinstance(started, OUTCOMES) else await _await_outcome(started)
    if isinstance(outcome, Result):
        return outcome.raw
    if outcome.code == METHOD_NOT_FOUND:
        return None
    raise BackendMisbehaved(backend.name, f"it answered {kind.method} with error {outcome.code}")


async def _await_outcome(exchange: Exchange) -> Result | Failure:
    try:
        while True:
            message = await exchange.receive()
            if isinstance(message, OUTCOMES):
                return message
            if isinstance(message, ServerRequest):
                await message.refuse(-32601, "The client does not support this request.")
    finally:
        await exchange.close()


class _Collected:
    """Items of all pages so far, by name, within the limits."""

    def __init__(self, kind: ListKind) -> None:
        self.kind = kind
        self.items: dict[str, Item] = {}
        self.notes: list[str] = []
        self.is_full = False
        self.ttl_ms: int | None = None
        self._size = 0
        self._cursors: set[str] = set()

    def note(self, text: str) -> None:
        """Remember what was left out, once per reason."""
        if text not in self.notes and len(self.notes) < 20:
            self.notes.append(text)

    def take_page(self, result: bytes, backend: str) -> str | None:
        """Add the items of one page; returns the cursor of the next one."""
        try:
            items = _items.decode(read_fields(result)[self.kind.member])
            page = _page.decode(result)
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            raise BackendMisbehaved(backend, f"its answer to {self.kind.method} is malformed") from None
        for item in items:
            self._take_item(item)
        self.ttl_ms = min_ttl(self.ttl_ms, read_ttl(page.ttlMs))
        cursor = page.nextCursor
        if not cursor or cursor in self._cursors:
            return None
        self._cursors.add(cursor)
        return cursor

    def _take_item(self, raw: Raw) -> None:
        if self.is_full:
            return
        if len(bytes(raw)) > MAX_DEFINITION:
            self.note(f"a definition over {MAX_DEFINITION // 1024} KiB was left out")
            return
        item = self._read_item(raw)
        if item is None:
            return
        if item.name in self.items:
            self.note(f"{item.name[:80]!r} is listed twice; the first one counts")
        elif len(self.items) >= MAX_ITEMS or self._size + len(item.tail) > MAX_LIST:
            self.is_full = True
            self.note(f"only the first {len(self.items)} definitions are offered (limits: {MAX_ITEMS}, 4 MiB)")
        else:
            self._size += len(item.tail)
            self.items[item.name] = item

    def _read_item(self, raw: Raw) -> Item | None:
        """A definition that clients can take; None, and a note, for any other."""
        fields: Fields = {}
        try:
            fields = read_fields(raw)
            name = msgspec.json.decode(fields.pop(self.kind.key), type=str)
        except (msgspec.MsgspecError, ValueError, KeyError):
            name = ""
        if not name or len(name) > MAX_NAME:
            self.note(f"a definition without a usable {self.kind.key} was left out")
            return None
        try:
            for member in mend(self.kind.member, name, fields):
                self.note(f"{name[:80]!r} is offered without its {member}, which is malformed")
        except DefinitionUnusable as fault:
            self.note(f"{name[:80]!r} was left out: its {fault} is missing or malformed")
            return None
        rest = raw_bytes(Raw(write_fields(fields)))
        return Item(name, b"," + rest[1:] if fields else b"}")


def read_ttl(raw: Raw) -> int | None:
    """A `ttlMs` member; None when there is none or it is no natural number."""
    digits = bytes(raw)
    return int(digits) if digits.isdigit() and len(digits) <= 15 else None


def min_ttl(*values: int | None) -> int | None:
    """The shortest of those that are known."""
    return min((value for value in values if value is not None), default=None)
