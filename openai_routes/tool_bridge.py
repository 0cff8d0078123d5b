"""The tenant's tools as functions for a model, and back. They come from the router's catalog and nowhere else.

A client's own tools go along; who owns which name is settled here, once for each request.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.view import ListPage
from openai_routes.errors import FieldInvalid
from openai_routes.introduction import ToolSummary, plain
from openai_routes.tool_names import assign_names
from openai_routes.tool_schema import clean_schema
from openai_routes.tool_search import CALL, SEARCH, FunctionTool, call_function, search_function, split_tools

CALLER: Final = Caller(
    session_id=None,
    protocol_version="2025-11-25",
    client_info_json=b'{"name":"gateway-proxy","title":"Chat","version":"1"}',
    capabilities_json=b"{}",
    modern=False,
    surface="openai",
)
PAGES_LIMIT: Final = 64
TOOLS_LIMIT: Final = 128
DESCRIPTION_LIMIT: Final = 1024  # what OpenAI takes
TRANSLATIONS_KEPT: Final = 256


class ToolLists(Protocol):
    """What is needed of `router.catalog.Catalog`."""

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ListPage:
        """One page of the tools that the caller may see, restricted to `servers` unless None."""


@dataclass(frozen=True, slots=True)
class ToolSelection:
    """The functions of one request. `own` and `client` lead from a function's name to the catalog's and the client's.

    `hidden` are tools beyond the provider's limit, by function name, reached through `search_name` and `call_name`.
    """

    tools: tuple[Raw, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, FunctionTool] = field(default_factory=dict)
    search_name: str = ""
    call_name: str = ""

    def sent_name(self, client_name: str) -> str:
        """The function name under which the provider knows a tool of the client."""
        return next((sent for sent, name in self.client.items() if name == client_name), client_name)


class _Definition(msgspec.Struct):
    name: str
    title: str | None = None
    description: str | None = None
    inputSchema: Any = None  # noqa: N815 - the name on the wire


class _Function(msgspec.Struct):
    name: str = ""
    description: str | None = None
    parameters: dict[str, Raw] | None = None


class _ClientTool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


@dataclass(frozen=True, slots=True)
class _Translated:
    """A tenant's tools as functions, without any client's beside them."""

    tools: tuple[FunctionTool, ...]
    encoded: tuple[Raw, ...]
    own: Mapping[str, str]


_definition: Final = msgspec.json.Decoder(_Definition)
_client_tool: Final = msgspec.json.Decoder(_ClientTool)


class ToolBridge:
    """From catalog to functions. Translations are kept as long as the catalog's bytes stay the same."""

    def __init__(self, catalog: ToolLists) -> None:
        self._catalog = catalog
        self._kept: OrderedDict[tuple[str, tuple[bytes, ...]], _Translated] = OrderedDict()

    async def list_summaries(self, ctx: TenantContext) -> list[ToolSummary]:
        """Name and description of every tool of the tenant, in the catalog's order."""
        translated = await self._translate(ctx, None)
        return [ToolSummary(tool.catalog_name, tool.description) for tool in translated.tools]

    async def select(
        self, ctx: TenantContext, servers: Collection[str] | None, client_tools: Sequence[Raw]
    ) -> ToolSelection:
        """The functions of one request: the client's, then ours of `servers` (None = every one of the tenant).

        Raises:
            FieldInvalid: A tool of the client is not an object with a function name.
        """
        client, passed = _client_functions(client_tools)
        if servers is not None and not servers:
            return ToolSelection(passed, client=client)
        translated = await self._translate(ctx, servers)
        if len(translated.tools) + len(passed) > TOOLS_LIMIT:
            return _select_some(translated.tools, client, passed)
        if client and not client.keys().isdisjoint(translated.own):
            tools = _renamed(translated.tools, client)
            own = {tool.name: tool.catalog_name for tool in tools}
            return ToolSelection((*passed, *_encode(tools)), own, client)
        return ToolSelection((*passed, *translated.encoded), translated.own, client)

    async def _translate(self, ctx: TenantContext, servers: Collection[str] | None) -> _Translated:
        pages = await self._list_pages(ctx, servers)
        separator = ctx.tenant.naming.separator if ctx.tenant.naming.prefix == "server" else ""
        key = (separator, tuple(page.raw for page in pages))
        kept = self._kept.get(key)
        if kept is None:
            tools = tuple(_function_tools((raw for page in pages for raw in page.definitions), separator))
            own = MappingProxyType({tool.name: tool.catalog_name for tool in tools})
            kept = self._kept[key] = _Translated(tools, _encode(tools), own)
            while len(self._kept) > TRANSLATIONS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept

    async def _list_pages(self, ctx: TenantContext, servers: Collection[str] | None) -> list[ListPage]:
        pages: list[ListPage] = []
        cursor: str | None = None
        for _ in range(PAGES_LIMIT):
            page = await self._catalog.list_tools(ctx, CALLER, cursor=cursor, servers=servers)
            pages.append(page)
            cursor = page.next_cursor
            if cursor is None:
                break
        return pages


def _function_tools(definitions: Iterable[bytes], separator: str) -> list[FunctionTool]:
    decoded = [_definition.decode(raw) for raw in definitions]
    by_name = {definition.name: definition for definition in decoded}
    return [
        FunctionTool(
            name,
            catalog_name,
            catalog_name.partition(separator)[0] if separator else "",
            plain(by_name[catalog_name].description or by_name[catalog_name].title or "", DESCRIPTION_LIMIT),
            clean_schema(by_name[catalog_name].inputSchema),
        )
        for name, catalog_name in assign_names(by_name).items()
    ]


def _renamed(tools: Sequence[FunctionTool], taken: Collection[str]) -> list[FunctionTool]:
    names = {original: name for name, original in assign_names([tool.catalog_name for tool in tools], taken).items()}
    return [FunctionTool(names[t.catalog_name], t.catalog_name, t.server, t.description, t.parameters) for t in tools]


def _encode(tools: Iterable[FunctionTool]) -> tuple[Raw, ...]:
    return tuple(
        _function({"name": tool.name, "description": tool.description, "parameters": tool.parameters}) for tool in tools
    )


def _function(function: dict[str, Any]) -> Raw:
    return Raw(msgspec.json.encode({"type": "function", "function": function}))


def _select_some(tools: Sequence[FunctionTool], client: Mapping[str, str], passed: tuple[Raw, ...]) -> ToolSelection:
    """More than a provider takes: whole servers as they are, the others behind a search."""
    tools = _renamed(tools, client)
    shown, hidden = split_tools(tools, max(TOOLS_LIMIT - len(passed), 2))
    taken = {*client, *(tool.name for tool in tools)}
    ours = {catalog: name for name, catalog in assign_names([SEARCH, CALL], taken).items()}
    own = {tool.name: tool.catalog_name for tool in tools}
    own |= {ours[SEARCH]: SEARCH, ours[CALL]: CALL}
    extra = (_function(search_function(ours[SEARCH], hidden)), _function(call_function(ours[CALL])))
    by_name = {tool.name: tool for tool in hidden}
    return ToolSelection((*passed, *_encode(shown), *extra), own, client, by_name, ours[SEARCH], ours[CALL])


def _client_functions(tools: Sequence[Raw]) -> tuple[dict[str, str], tuple[Raw, ...]]:
    """The names of the client's functions, and its tools as they go to the provider; kinds we do not know go as is."""
    names: list[str] = []
    for index, raw in enumerate(tools):
        try:
            tool = _client_tool.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            raise FieldInvalid(f"tools[{index}]", "an object with 'type' and 'function' (name, parameters)") from None
        if tool.type == "function" and (tool.function is None or not tool.function.name):
            raise FieldInvalid(f"tools[{index}].function.name", "a non-empty string")
        names.append(tool.function.name if tool.function is not None and tool.type == "function" else "")
    sent = assign_names([name for name in names if name])
    if all(short == name for short, name in sent.items()):
        return sent, tuple(tools)
    shorts = {name: short for short, name in sent.items()}
    passed = [
        _with_name(raw, shorts[name]) if name and shorts[name] != name else raw
        for raw, name in zip(tools, names, strict=True)
    ]
    return sent, tuple(passed)


def _with_name(raw: Raw, name: str) -> Raw:
    tool = msgspec.json.decode(raw, type=dict[str, Raw])
    function = msgspec.json.decode(tool["function"], type=dict[str, Raw])
    function["name"] = Raw(msgspec.json.encode(name))
    tool["function"] = Raw(msgspec.json.encode(function))
    return Raw(msgspec.json.encode(tool))
