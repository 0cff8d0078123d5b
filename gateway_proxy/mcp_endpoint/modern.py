"""The leg of 2026-07-28: every request stands alone, says who it is in `_meta`, and repeats its target in headers.

The header checks come before anything is looked up, because intermediaries route on the headers and we act on the
body (MCP 2026-07-28, Streamable HTTP; reference/security.md S5). No session is issued or read here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from gateway_proxy.domain.errors import RelayError
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.call_reply import Answer, finish, relay_call
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.mcp_endpoint.envelope import ClientNotification, Request, decode_message, is_batch
from gateway_proxy.mcp_endpoint.errors import MODERN_STATUS, Refusal
from gateway_proxy.mcp_endpoint.headers import McpHeaders, decode_value
from gateway_proxy.mcp_endpoint.parameters import (
    CLIENT_CAPABILITIES_KEY,
    PROTOCOL_VERSION_KEY,
    SERVER_INFO_KEY,
    CallParameters,
    EnvelopeMeta,
    EnvelopeParameters,
    ListParameters,
    MaybeRaw,
    decode_parameters,
    invalid_parameters,
    optional_object,
)
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.routing import ToolCaller, ToolCatalog
from gateway_proxy.mcp_endpoint.versions import MODERN_VERSIONS
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import Failure, Result

Handler = Callable[[Post, Request, Caller], Awaitable[None]]

NAMED_BY: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Method → the parameter that `Mcp-Name` repeats."""


class ResultHead(msgspec.Struct):
    """Whether a result says of what kind it is."""

    result_type: MaybeRaw = msgspec.field(name="resultType", default=msgspec.UNSET)


_head_decoder: Final = msgspec.json.Decoder(ResultHead)


class ModernLeg:
    """Answers the POSTs of 2026-07-28."""

    def __init__(self, catalog: ToolCatalog, tool_calls: ToolCaller, config: EndpointConfig) -> None:
        self._catalog = catalog
        self._tool_calls = tool_calls
        server = config.server
        identity = {"name": server.name, "title": server.title, "version": server.version}
        stamp = {"resultType": "complete", "_meta": {SERVER_INFO_KEY: identity}}
        caching = {"ttlMs": config.limits.list_ttl_ms, "cacheScope": "private"}
        self._list_tail = b"," + wire.to_json({**caching, **stamp})[1:]
        self._discovery = wire.to_json(
            {
                "supportedVersions": list(MODERN_VERSIONS),
                "capabilities": {"tools": {}},
                "instructions": server.instructions,
                **caching,
                **stamp,
            }
        )
        self._methods: Mapping[str, Handler] = {
            "server/discover": self._discover,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    async def answer(self, post: Post) -> None:
        """Serve one request.

        Raises:
            Refusal, GatewayError: What the client is told instead, as an error of `post.request_id`.
        """
        if is_batch(post.body):
            raise Refusal(400, wire.INVALID_REQUEST, "Invalid request: the body must be one request or notification")
        message = decode_message(post.body)
        if isinstance(message, ClientNotification):
            _check_version(post.headers.text(h.PROTOCOL_VERSION) or "")
            await post.exchange.answer_empty(202)
            return
        if not isinstance(message, Request):
            raise Refusal(400, wire.INVALID_REQUEST, "Invalid request: the body must be one request or notification")
        post.request_id = message.id
        caller = _read_caller(post.headers, message)
        handler = self._methods.get(message.method)
        if handler is None:
            raise Refusal(404, wire.METHOD_NOT_FOUND, f"Method not found: {message.method}")
        await handler(post, message, caller)

    async def _discover(self, post: Post, request: Request, _: Caller) -> None:
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, self._discovery)))

    async def _list_tools(self, post: Post, request: Request, caller: Caller) -> None:
        cursor = decode_parameters(ListParameters, request.params).cursor
        page = await self._catalog.list_tools(post.ctx, caller, cursor=cursor)
        following = b"" if page.next_cursor is None else b',"nextCursor":' + wire.to_json(page.next_cursor)
        result = b'{"tools":%b%b%b' % (page.raw, following, self._list_tail)
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, result)))

    async def _call_tool(self, post: Post, request: Request, caller: Caller) -> None:
        parameters = decode_parameters(CallParameters, request.params)
        optional_object(parameters.arguments, "params.arguments")

        def answer(final: Result | Failure) -> Answer:
            if isinstance(final, Result):
                return 200, wire.result_message(request.id, with_result_type(final.raw))
            status = MODERN_STATUS.get(final.code, 200)
            return status, wire.error_message(request.id, final.code, final.message, final.data)

        messages = self._tool_calls.call(post.ctx, caller, name=parameters.name, params=request.params)
        await relay_call(post.exchange, post.accept, messages, answer)


def _read_caller(headers: McpHeaders, request: Request) -> Caller:
    """Check a request's envelope, in the order in which the SDK does, and say who calls.

    Raises:
        Refusal: 400 with -32020 (headers), -32602 (`_meta`) or -32022 (version).
    """
    if headers.duplicated is not None:
        raise _mismatch(f"the header {headers.duplicated} appears more than once")
    parameters = decode_parameters(EnvelopeParameters, request.params)
    if isinstance(parameters.meta, msgspec.UnsetType) or bytes(parameters.meta)[:1] != b"{":
        raise invalid_parameters(f"params._meta: expected an object with {PROTOCOL_VERSION_KEY}")
    meta = decode_parameters(EnvelopeMeta, bytes(parameters.meta), where="params._meta")
    if isinstance(meta.protocol_version, msgspec.UnsetType):
        raise invalid_parameters(f"params._meta.{PROTOCOL_VERSION_KEY}: missing")
    if isinstance(meta.client_capabilities, msgspec.UnsetType):
        raise invalid_parameters(f"params._meta.{CLIENT_CAPABILITIES_KEY}: missing")
    version = _check_headers(headers, request, parameters, bytes(meta.protocol_version))
    _check_version(version)
    capabilities = bytes(meta.client_capabilities)
    if capabilities[:1] != b"{":
        raise invalid_parameters(f"params._meta.{CLIENT_CAPABILITIES_KEY}: expected an object")
    return Caller(
        session_id=None,
        protocol_version=version,
        client_info_json=optional_object(meta.client_info, "params._meta.io.modelcontextprotocol/clientInfo"),
        capabilities_json=capabilities,
        modern=True,
    )


def _check_headers(headers: McpHeaders, request: Request, parameters: EnvelopeParameters, version: bytes) -> str:
    """Hold the routing headers against the body; the protocol version, which is the same in both."""
    declared = headers.text(h.PROTOCOL_VERSION)
    if declared is None or declared != _text_of(version):
        raise _mismatch("mcp-protocol-version does not match the protocol version in params._meta")
    if headers.text(h.METHOD) != request.method:
        raise _mismatch("mcp-method does not match the method in the body")
    field = NAMED_BY.get(request.method)
    if field is not None:
        named = parameters.name if field == "name" else parameters.uri
        given = None if isinstance(named, msgspec.UnsetType) else bytes(named)
        if given is not None and given != b"null" and decode_value(headers.text(h.NAME)) != _text_of(given):
            raise _mismatch(f"mcp-name does not match params.{field} in the body")
    return declared


def _text_of(raw: bytes) -> str | None:
    """A raw JSON string, decoded; None for any other value."""
    return str(msgspec.json.decode(raw)) if raw[:1] == b'"' else None


def _check_version(version: str) -> None:
    if version not in MODERN_VERSIONS:
        data = wire.to_json({"supported": list(MODERN_VERSIONS), "requested": version})
        raise Refusal(400, wire.UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _mismatch(reason: str) -> Refusal:
    return Refusal(400, wire.HEADER_MISMATCH, f"Header mismatch: {reason}")


def with_result_type(result: bytes) -> bytes:
    """The result with a `resultType`, which 2026-07-28 requires; older and careless backends send none.

    Raises:
        RelayError: The backend's result is not an object.
    """
    if b'"resultType"' in result:
        try:
            if not isinstance(_head_decoder.decode(result).result_type, msgspec.UnsetType):
                return result
        except msgspec.DecodeError:
            raise RelayError from None
    body = result.lstrip()
    if body[:1] != b"{":
        raise RelayError
    rest = body[1:].lstrip()
    return b'{"resultType":"complete"' + (b"" if rest[:1] == b"}" else b",") + rest
