"""The server itself: handlers of every method, and the log of events that a broken stream is resumed from."""

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support.everything import prompts, resources, tasks
from tests.support.everything.parts import Context, Json, content, text
from tests.support.everything.tools import make_tools

NAME = "everything"
LEGACY_RESOURCE_NOT_FOUND = -32002

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)  # what is deprecated is relayed all the same


_Params = TypeVar("_Params", bound=types.RequestParams)


def _completed(
    handler: Callable[[Context, _Params], Awaitable[Json]],
) -> Callable[[Context, _Params], Awaitable[Json]]:
    """Mark what does not ask for input as complete, which the modern leg wants said (SEP-2322)."""

    async def answer(ctx: Context, params: _Params) -> Json:
        result = await handler(ctx, params)
        return {"resultType": "complete", **result} if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else result

    return answer


class MemoryEvents(EventStore):
    """Events of all streams in memory, for as long as the process lives."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep an event; its id is its number."""
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what the stream of `last_event_id` carried after it."""
        if not last_event_id.isdecimal() or not 0 < int(last_event_id) <= len(self._events):
            return None
        number = int(last_event_id)
        stream = self._events[number - 1][0]
        for later, (stream_id, message) in enumerate(self._events[number:], number + 1):
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, str(later)))
        return stream


class EverythingServer(Server[dict[str, Any]]):
    """The lowlevel server with all of MCP registered."""

    def __init__(self) -> None:
        hint = CacheHint(ttl_ms=60_000, scope="public")
        bus = InMemorySubscriptionBus()
        self._tools = make_tools(bus)
        super().__init__(
            NAME,
            version="1.0.0",
            instructions="One of everything in MCP.",
            cache_hints={
                "server/discover": hint,
                "tools/list": hint,
                "prompts/list": hint,
                "resources/list": hint,
                "resources/templates/list": hint,
                "resources/read": hint,
            },
            get_tool_input_schema=self._find_schema,
            on_subscriptions_listen=ListenHandler(bus),
        )
        self._add_handlers()
        self.extensions[tasks.EXTENSION] = {}
        self.middleware.append(tasks.TaskBoundary())
        self.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))

    def _add_handlers(self) -> None:
        def add(method: str, params: type[_Params], handler: Callable[[Context, _Params], Awaitable[Json]]) -> None:
            self.add_request_handler(method, params, _completed(handler))

        add("tools/list", types.PaginatedRequestParams, self._list_tools)
        add("tools/call", types.CallToolRequestParams, self._call_tool)
        add("prompts/list", types.PaginatedRequestParams, self._list_prompts)
        add("prompts/get", types.GetPromptRequestParams, self._get_prompt)
        add("resources/list", types.PaginatedRequestParams, self._list_resources)
        add("resources/templates/list", types.PaginatedRequestParams, self._list_templates)
        add("resources/read", types.ReadResourceRequestParams, self._read_resource)
        add("resources/subscribe", types.SubscribeRequestParams, self._accept)
        add("resources/unsubscribe", types.UnsubscribeRequestParams, self._accept)
        add("logging/setLevel", types.SetLevelRequestParams, self._accept)
        add("completion/complete", types.CompleteRequestParams, self._complete)

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK makes them, with the list_changed notifications that the tools can trigger."""
        changed = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changed, experimental_capabilities, extensions)

    def _find_schema(self, name: str) -> Json | None:
        tool = self._tools.get(name)
        return None if tool is None else tool.schema

    async def _list_tools(self, ctx: Context, params: types.PaginatedRequestParams) -> Json:
        return {"tools": [*(tool.definition(name) for name, tool in self._tools.items()), *tasks.definitions()]}

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Json:
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            return await tool.call(ctx, params.arguments or {})
        except MCPError as error:
            if error.error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY:
                raise
            return content(text(f"Not supported or error: {error}")) | {"isError": True}

    async def _list_prompts(self, ctx: Context, params: types.PaginatedRequestParams) -> Json:
        return {"prompts": prompts.definitions()}

    async def _get_prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Json:
        handler, required = prompts.PROMPTS.get(params.name, (None, ()))
        if handler is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        arguments = dict(params.arguments or {})
        missing = [name for name in required if name not in arguments]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}")
        return await handler(ctx, arguments)

    async def _list_resources(self, ctx: Context, params: types.PaginatedRequestParams) -> Json:
        return {"resources": resources.definitions()}

    async def _list_templates(self, ctx: Context, params: types.PaginatedRequestParams) -> Json:
        template = {"uriTemplate": resources.TEMPLATE, "name": "template", "mimeType": "application/json"}
        return {"resourceTemplates": [template]}

    async def _read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> Json:
        uri = str(params.uri)
        found = resources.find_contents(uri)
        if found is None:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = types.INVALID_PARAMS if modern else LEGACY_RESOURCE_NOT_FOUND
            raise MCPError(code, "Resource not found", {"uri": uri})
        return {"contents": [found]}

    async def _accept(self, ctx: Context, params: types.RequestParams) -> Json:
        return {}

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> Json:
        values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}
