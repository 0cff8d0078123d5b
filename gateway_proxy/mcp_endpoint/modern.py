"""The leg of 2026-07-28: every request stands alone, says who it is in `_meta`, and repeats its target in headers.

The header checks come before anything is looked up, because intermediaries route on the headers and we act on the
body (MCP 2026-07-28, Streamable HTTP; reference/security.md S5). No session is issued or read here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec

from gateway_proxy.backends.splice import read_header_value
from gateway_proxy.domain.errors import MethodUnknown, RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.call_reply import Answer, finish, relay_call
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.mcp_endpoint.envelope import ClientNotification, Request, decode_message, is_batch
from gateway_proxy.mcp_endpoint.errors import MODERN_STATUS, Refusal
from gateway_proxy.mcp_endpoint.headers import McpHeaders
from gateway_proxy.mcp_endpoint.input_requests import URL_ELICITATION_REQUIRED, settle
from gateway_proxy.mcp_endpoint.parameters import (
    CLIENT_CAPABILITIES_KEY,
    PROTOCOL_VERSION_KEY,
    SERVER_INFO_KEY,
    CallParameters,
    EnvelopeMeta,
    EnvelopeParameters,
    InputParameters,
    ListParameters,
    MaybeRaw,
    decode_parameters,
    invalid_parameters,
    optional_object,
)
from gateway_proxy.mcp_endpoint.parked_calls import ParkedCalls, Parking
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.request_states import RequestStates, digest_of
from gateway_proxy.mcp_endpoint.routing import Requester, TenantCatalog, ToolCaller
from gateway_proxy.mcp_endpoint.subscriptions import Subscriptions
from gateway_proxy.mcp_endpoint.versions import MODERN_VERSIONS
from gateway_proxy.router.caller import SERVER_REQUESTS, Caller
from gateway_proxy.router.listing import KINDS, ListKind
from gateway_proxy.router.messages import Failure, Messages, Result, ServerRequest

Handler = Callable[[Post, Request, Caller], Awaitable[None]]
Handshake = Callable[[Post, Request], Awaitable[None]]
"""Opens a session of the older era."""

NAMED_BY: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}
"""Method → the parameter that `Mcp-Name` repeats."""

NOT_OF_THIS_ERA: Final = (
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    *SERVER_REQUESTS,
)
"""Methods that 2026-07-28 has no more, and those that only a server may send: no backend is to meet them from here."""

KNOWN_NOTIFICATIONS: Final = frozenset(
    {
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)

REPLACED: Final[Mapping[int, int]] = {
    wire.RESOURCE_NOT_FOUND: wire.INVALID_PARAMS,
    URL_ELICITATION_REQUIRED: wire.INTERNAL_ERROR,
}
"""Codes of older revisions that 2026-07-28 must not send, and what is sent instead (Error Codes)."""

ASKING: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests that may be answered with `input_required`."""


class Begin(Protocol):
    """Starts the request at its backend."""

    def __call__(self, ctx: TenantContext, caller: Caller, *, params: bytes) -> Messages: ...


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request that may need several rounds: what it is for, how it begins, what completes its result."""

    name: str
    begin: Begin
    complete: Callable[[bytes], bytes]


class ResultHead(msgspec.Struct):
    """Whether a result says of what kind it is."""

    result_type: MaybeRaw = msgspec.field(name="resultType", default=msgspec.UNSET)


_head_decoder: Final = msgspec.json.Decoder(ResultHead)
_fields_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ModernLeg:
    """Answers the POSTs of 2026-07-28."""

    def __init__(
        self,
        catalog: TenantCatalog,
        tool_calls: ToolCaller,
        requests: Requester,
        states: RequestStates,
        parked_calls: ParkedCalls,
        subscriptions: Subscriptions,
        handshake: Handshake,
        config: EndpointConfig,
    ) -> None:
        self._handshake = handshake
        self._catalog = catalog
        self._tool_calls = tool_calls
        self._requests = requests
        self._states = states
        self._parked_calls = parked_calls
        self._list_ttl_ms = config.limits.list_ttl_ms
        self._server = config.server
        server = config.server
        identity = {"name": server.name, "title": server.title, "version": server.version}
        self._stamp = wire.to_json({"resultType": "complete", "_meta": {SERVER_INFO_KEY: identity}})[1:-1]
        self._methods: Mapping[str, Handler] = {
            "server/discover": self._discover,
            "tools/call": self._call_tool,
            "subscriptions/listen": subscriptions.serve,
            **{kind.method: partial(self._list, kind) for kind in KINDS},
            **dict.fromkeys(NOT_OF_THIS_ERA, _refuse_method),
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
            version = post.headers.text(h.PROTOCOL_VERSION) or ""
            _check_version(version)
            await self._hear(post, message, version)
            await post.exchange.answer_empty(202)
            return
        if not isinstance(message, Request):
            raise Refusal(400, wire.INVALID_REQUEST, "Invalid request: the body must be one request or notification")
        post.request_id = message.id
        if message.method == "initialize" and b'"%b"' % PROTOCOL_VERSION_KEY.encode() not in message.params:
            await self._handshake(post, message)  # the older era's own method, whatever the header asks for
            return
        caller = _read_caller(post.headers, message)
        await self._methods.get(message.method, self._relay)(post, message, caller)

    async def _discover(self, post: Post, request: Request, _: Caller) -> None:
        offer = await self._catalog.offer(post.ctx, modern=True)
        instructions = offer.instructions if offer.is_mirror else self._server.instructions
        said = {
            "supportedVersions": list(MODERN_VERSIONS),
            "capabilities": msgspec.Raw(offer.capabilities),
            **({} if instructions is None else {"instructions": instructions}),
        }
        result = wire.to_json(said)[:-1] + self._tail(None) + b"}"
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, result)))

    async def _list(self, kind: ListKind, post: Post, request: Request, caller: Caller) -> None:
        cursor = decode_parameters(ListParameters, request.params).cursor
        page = await self._catalog.list_kind(post.ctx, caller, kind, cursor=cursor)
        following = b"" if page.next_cursor is None else b',"nextCursor":' + wire.to_json(page.next_cursor)
        member, tail = b'"%b":' % kind.member.encode(), self._tail(page.ttl_ms)
        body = wire.members_message(request.id, member, page.raw, following, tail)
        await finish(post.exchange, post.accept, (200, body))

    def _tail(self, ttl_ms: int | None) -> bytes:
        """The last members of an answer of our own: fresh for as long as its backends say, at most for our own time.

        `private`, because what is listed depends on whose token it is (2026-07-28, Caching).
        """
        shortest = self._list_ttl_ms if ttl_ms is None else min(ttl_ms, self._list_ttl_ms)
        return b',"ttlMs":%d,"cacheScope":"private",%b' % (shortest, self._stamp)

    async def _call_tool(self, post: Post, request: Request, caller: Caller) -> None:
        parameters = decode_parameters(CallParameters, request.params)
        optional_object(parameters.arguments, "params.arguments")
        begin = partial(self._tool_calls.call, name=parameters.name)
        await self._converse(post, request, caller, Conversation(parameters.name, begin, with_result_type))

    async def _relay(self, post: Post, request: Request, caller: Caller) -> None:
        """Everything that is not ours to answer, methods that we have never heard of included."""
        begin = partial(self._requests.relay, method=request.method)
        complete = with_caching if request.method == "resources/read" else with_result_type
        if request.method in ASKING:
            await self._converse(post, request, caller, Conversation("", begin, complete))
        else:
            messages = begin(post.ctx, caller, params=request.params)
            await relay_call(post.exchange, post.accept, messages, partial(_answer, request, complete))

    async def _converse(self, post: Post, request: Request, caller: Caller, conversation: "Conversation") -> None:
        """Relay a request that may need input of the client, or go on with one that did (2026-07-28, SEP-2322)."""
        ctx, target = post.ctx, f"{request.method} {conversation.name}"
        asked, responses, state = request.params, b"", None
        if b'"requestState"' in asked:
            inputs = decode_parameters(InputParameters, asked)
            if not isinstance(inputs.request_state, msgspec.UnsetType):
                if bytes(inputs.request_state) == b"null":
                    asked = _without_state(asked)
                else:
                    state = self._states.open(ctx, target, bytes(inputs.request_state))
                    responses = optional_object(inputs.input_responses, "params.inputResponses")

        def answer(final: Result | Failure) -> Answer:
            final = settle(final, self._states, ctx, target, caller=caller, params=asked)
            return _answer(request, conversation.complete, final)

        def park(messages: Messages, question: ServerRequest) -> Result:
            return self._parked_calls.park(Parking(ctx, target, digest_of(asked)), messages, question)

        if state is None:
            messages = conversation.begin(ctx, caller, params=asked)
        elif not state.worker_id:
            params = _with_state(asked, state.inner)
            messages = conversation.begin(
                ctx, msgspec.structs.replace(caller, only_backend=state.backend_id), params=params
            )
        elif state.worker_id == self._parked_calls.worker_id:
            claimed = await self._parked_calls.claim(ctx, state, responses, digest_of(asked))
            if isinstance(claimed, Result):
                await finish(post.exchange, post.accept, answer(claimed))
                return
            messages = claimed.messages
        else:
            messages = self._parked_calls.claim_elsewhere(ctx, state, responses, digest_of(asked))
        await relay_call(post.exchange, post.accept, messages, answer, park=park)

    async def _hear(self, post: Post, message: ClientNotification, version: str) -> None:
        """Pass on what the gateway does not know. Cancelling is closing the stream in this era, and no notification."""
        if message.method in KNOWN_NOTIFICATIONS:
            return
        caller = Caller(None, version, b"{}", b"{}", modern=True)
        await self._requests.notify(post.ctx, caller, method=message.method, params=message.params)


def _answer(request: Request, complete: Callable[[bytes], bytes], final: Result | Failure) -> Answer:
    """The response; `complete` adds to a result what 2026-07-28 requires of it."""
    if isinstance(final, Result):
        return 200, wire.result_message(request.id, complete(final.raw))
    code = REPLACED.get(final.code, final.code)
    return MODERN_STATUS.get(code, 200), wire.error_message(request.id, code, final.message, final.data)


def _with_state(params: bytes, inner: bytes) -> bytes:
    """The parameters with the backend's own state in the place of ours."""
    fields = _fields_decoder.decode(params)
    fields["requestState"] = msgspec.Raw(inner)
    return wire.to_json(fields)


def _without_state(params: bytes) -> bytes:
    """The parameters of a client that writes null for what it does not have; a backend may take that for a state."""
    fields = _fields_decoder.decode(params)
    del fields["requestState"]
    if bytes(fields.get("inputResponses", b"")) == b"null":
        del fields["inputResponses"]
    return wire.to_json(fields)


async def _refuse_method(_: Post, request: Request, __: Caller) -> None:
    raise MethodUnknown(request.method)


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
        relays_server_requests=request.method in ASKING,
        param_headers=headers.parameters(),
    )


def _check_headers(headers: McpHeaders, request: Request, parameters: EnvelopeParameters, version: bytes) -> str:
    """Hold the routing headers against the body; the protocol version, which is the same in both."""
    declared = headers.text(h.PROTOCOL_VERSION)
    if declared is None or declared != _text_of(version):
        raise _mismatch("mcp-protocol-version does not match the protocol version in params._meta")
    if not headers.repeats_body:
        return declared
    if headers.text(h.METHOD) != request.method:
        raise _mismatch("mcp-method does not match the method in the body")
    field = NAMED_BY.get(request.method)
    if field is not None:
        named = {"name": parameters.name, "uri": parameters.uri, "taskId": parameters.task_id}[field]
        given = None if isinstance(named, msgspec.UnsetType) else bytes(named)
        if given is not None and given != b"null" and read_header_value(headers.text(h.NAME)) != _text_of(given):
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


def with_caching(result: bytes) -> bytes:
    """What a read resource needs besides (2026-07-28, Caching): until when it is fresh, and that it is this caller's.

    A backend of an older era does not say how long, so it is not kept at all. Input that is still required is no
    answer yet and stays as it is.

    Raises:
        RelayError: The backend's result is not an object.
    """
    try:
        fields = _fields_decoder.decode(result)
    except msgspec.DecodeError:
        raise RelayError from None
    if bytes(fields.setdefault("resultType", msgspec.Raw(b'"complete"'))) == b'"complete"':
        fields.setdefault("ttlMs", msgspec.Raw(b"0"))
        fields["cacheScope"] = msgspec.Raw(b'"private"')
    return wire.to_json(fields)
