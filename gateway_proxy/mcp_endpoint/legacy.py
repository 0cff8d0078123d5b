"""The leg of the handshake era (2024-11-05 … 2025-11-25): initialize, a session, and calls with or without one.

A request without a session id is served statelessly, never refused: Claude.ai does not echo the id. A request with an
id that is unknown or somebody else's gets 404, and the client opens a new session.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

import msgspec

from gateway_proxy.domain.errors import MethodUnknown, ResourceUnknown, SessionUnknown, ToolUnknown
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.batches import Batches
from gateway_proxy.mcp_endpoint.call_reply import Answer, finish, relay_call
from gateway_proxy.mcp_endpoint.calls_in_flight import CallsInFlight
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.mcp_endpoint.envelope import ClientNotification, Request, decode_message, is_batch
from gateway_proxy.mcp_endpoint.errors import Refusal
from gateway_proxy.mcp_endpoint.headers import McpHeaders
from gateway_proxy.mcp_endpoint.kept_streams import KEEPS_SINCE, KeptStreams
from gateway_proxy.mcp_endpoint.parameters import (
    LOG_LEVELS,
    CallParameters,
    CancelledParameters,
    InitializeParameters,
    LevelParameters,
    ListParameters,
    UriParameters,
    decode_parameters,
    invalid_parameters,
    optional_object,
)
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.questions import Questions
from gateway_proxy.mcp_endpoint.routing import Requester, TenantCatalog, ToolCaller
from gateway_proxy.mcp_endpoint.versions import ASSUMED_VERSION, HANDSHAKE_VERSIONS, LATEST_HANDSHAKE_VERSION
from gateway_proxy.router.caller import SERVER_REQUESTS, Caller
from gateway_proxy.router.listing import KINDS, ListKind
from gateway_proxy.router.messages import Failure, Messages, Result
from gateway_proxy.sessions.store import SessionStore

Handler = Callable[[Post, Request, SessionRecord | None], Awaitable[None]]

MAX_SUBSCRIPTIONS: Final = 1000
MAX_URI: Final = 8192
KNOWN_NOTIFICATIONS: Final = frozenset({"notifications/initialized", "notifications/progress"})
NOT_OF_THIS_ERA: Final = ("server/discover", "subscriptions/listen", *SERVER_REQUESTS)
"""Methods of 2026-07-28, and those that only a server may send: no backend is to meet them from here."""


class LegacyLeg:
    """Answers the POSTs of the handshake era."""

    def __init__(
        self,
        catalog: TenantCatalog,
        tool_calls: ToolCaller,
        requests: Requester,
        sessions: SessionStore,
        calls_in_flight: CallsInFlight,
        questions: Questions,
        kept_streams: KeptStreams,
        batches: Batches,
        config: EndpointConfig,
    ) -> None:
        self._catalog = catalog
        self._tool_calls = tool_calls
        self._requests = requests
        self._sessions = sessions
        self._calls_in_flight = calls_in_flight
        self._questions = questions
        self._kept_streams = kept_streams
        self._batches = batches
        self._limits = config.limits
        self._server = config.server
        self._methods: Mapping[str, Handler] = {
            "initialize": self.initialize,
            "ping": self._ping,
            "tools/call": self._call_tool,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "logging/setLevel": self._set_level,
            **{kind.method: partial(self._list, kind) for kind in KINDS},
            **dict.fromkeys(NOT_OF_THIS_ERA, _refuse_method),
        }

    async def answer(self, post: Post) -> None:
        """Serve one message: a request is answered, anything else is taken note of with 202.

        Raises:
            Refusal, GatewayError: What the client is told instead, as an error of `post.request_id`.
        """
        if is_batch(post.body):
            await self._batches.answer(post, await self.find_session(post.headers, post.ctx))
            return
        message = decode_message(post.body)
        if isinstance(message, Request):
            post.request_id = message.id
            handler = self._methods.get(message.method, self._relay)
            session = None if message.method == "initialize" else await self.find_session(post.headers, post.ctx)
            await handler(post, message, session)
            return
        session = await self.find_session(post.headers, post.ctx)
        if session is not None:
            if isinstance(message, ClientNotification):
                await self._hear(post, session, message)
            else:
                await self._questions.hear(session, message)
        await post.exchange.answer_empty(202)

    async def find_session(self, headers: McpHeaders, ctx: TenantContext) -> SessionRecord | None:
        """The session that the request names, or None if it names none.

        Raises:
            SessionUnknown: Never issued, expired, ended, or somebody else's.
        """
        session_id = headers.text(h.SESSION_ID)
        if session_id is None:
            return None
        principal = ctx.principal
        session = await self._sessions.find(
            session_id, tenant_id=ctx.tenant.id, user_id=principal.user_id, client_id=principal.client_id
        )
        if session is None:
            raise SessionUnknown
        return session

    async def initialize(self, post: Post, request: Request, _: SessionRecord | None = None) -> None:
        """Open a session (MCP 2025-11-25, Lifecycle). An id that came along is ignored: it may be a dead one.

        Raises:
            Refusal, GatewayError: What the client is told instead, as an error of `post.request_id`.
        """
        parameters = decode_parameters(InitializeParameters, request.params)
        if len(request.params) > self._limits.handshake_bytes:
            raise invalid_parameters(f"params: larger than {self._limits.handshake_bytes} bytes")
        asked = parameters.protocol_version
        principal = post.ctx.principal
        session = SessionRecord(
            id=new_session_id(),
            tenant_id=post.ctx.tenant.id,
            user_id=principal.user_id,
            client_id=principal.client_id,
            protocol_version=asked if asked in HANDSHAKE_VERSIONS else LATEST_HANDSHAKE_VERSION,
            client_info_json=optional_object(parameters.client_info, "params.clientInfo"),
            capabilities_json=optional_object(parameters.capabilities, "params.capabilities"),
        )
        offer = await self._catalog.offer(post.ctx)
        await self._sessions.add(session)
        server = self._server
        instructions = offer.instructions if offer.is_mirror else server.instructions
        result = wire.to_json(
            {
                "protocolVersion": session.protocol_version,
                "capabilities": msgspec.Raw(offer.capabilities),
                "serverInfo": {"name": server.name, "title": server.title, "version": server.version},
                **({} if instructions is None else {"instructions": instructions}),
            }
        )
        issued = ((h.SESSION_ID, session.id.encode("ascii")),)
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, result)), issued)

    async def _ping(self, post: Post, request: Request, _: SessionRecord | None) -> None:
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, b"{}")))

    async def _list(self, kind: ListKind, post: Post, request: Request, session: SessionRecord | None) -> None:
        cursor = decode_parameters(ListParameters, request.params).cursor
        page = await self._catalog.list_kind(post.ctx, caller_of(post, session), kind, cursor=cursor)
        following = b"" if page.next_cursor is None else b',"nextCursor":' + wire.to_json(page.next_cursor)
        body = wire.members_message(request.id, b'"%b":' % kind.member.encode(), page.raw, following)
        await finish(post.exchange, post.accept, (200, body))

    async def _call_tool(self, post: Post, request: Request, session: SessionRecord | None) -> None:
        parameters = decode_parameters(CallParameters, request.params)
        optional_object(parameters.arguments, "params.arguments")
        caller = caller_of(post, session)
        messages = self._tool_calls.call(post.ctx, caller, name=parameters.name, params=request.params)
        try:
            await self._follow(post, request, session, caller, messages)
        except ToolUnknown as error:
            result = _unknown_tool_result(error.name)
            await finish(post.exchange, post.accept, (200, wire.result_message(request.id, result)))

    async def _relay(self, post: Post, request: Request, session: SessionRecord | None) -> None:
        """Everything that is not ours to answer, methods that we have never heard of included."""
        caller = caller_of(post, session)
        messages = self._requests.relay(post.ctx, caller, method=request.method, params=request.params)
        try:
            await self._follow(post, request, session, caller, messages)
        except ResourceUnknown as error:
            data = wire.to_json({"uri": error.uri})
            raise Refusal(200, wire.RESOURCE_NOT_FOUND, "Resource not found", data) from None

    async def _follow(
        self,
        post: Post,
        request: Request,
        session: SessionRecord | None,
        caller: Caller,
        messages: Messages,
    ) -> None:
        """Write what a request yields; within a session it can be cancelled, and its client be asked."""

        def answer(final: Result | Failure) -> Answer:
            if isinstance(final, Result):
                return 200, wire.result_message(request.id, final.raw)
            return 200, wire.error_message(request.id, final.code, final.message, final.data)

        if session is None:
            await relay_call(post.exchange, post.accept, messages, answer)
            return
        if session.protocol_version >= KEEPS_SINCE and post.accept.sse and post.exchange.can_come_back:
            post.exchange.keeper = self._kept_streams.of_call(session, post.exchange, request.id)
        key = self._calls_in_flight.add(session.id, request.id, post.exchange)
        try:
            if caller.relays_server_requests:
                with self._questions.of_call(session) as questions:
                    await relay_call(post.exchange, post.accept, messages, answer, questions)
            else:
                await relay_call(post.exchange, post.accept, messages, answer)
        finally:
            self._calls_in_flight.remove(session.id, key, post.exchange)

    async def _subscribe(self, post: Post, request: Request, session: SessionRecord | None) -> None:
        """Remembered before the backend hears of it, so that no update falls in between."""
        uri = decode_parameters(UriParameters, request.params).uri
        if session is None:
            raise Refusal(200, wire.INVALID_REQUEST, "Subscriptions need a session: send Mcp-Session-Id")
        if len(session.subscriptions) >= MAX_SUBSCRIPTIONS or len(uri) > MAX_URI:
            raise invalid_parameters(
                f"params.uri: at most {MAX_SUBSCRIPTIONS} subscriptions, of at most {MAX_URI} characters"
            )
        await self._sessions.amend(session, lambda now: replace(now, subscriptions=now.subscriptions | {uri}))
        await self._relay(post, request, session)

    async def _unsubscribe(self, post: Post, request: Request, session: SessionRecord | None) -> None:
        uri = decode_parameters(UriParameters, request.params).uri
        if session is not None:
            await self._sessions.amend(session, lambda now: replace(now, subscriptions=now.subscriptions - {uri}))
        await self._relay(post, request, session)

    async def _set_level(self, post: Post, request: Request, session: SessionRecord | None) -> None:
        """Holds from the next request on: it goes to each backend with the first one that the session makes there."""
        level = decode_parameters(LevelParameters, request.params).level
        if level not in LOG_LEVELS:
            raise invalid_parameters(f"params.level: expected one of {', '.join(LOG_LEVELS)}")
        if session is not None:
            await self._sessions.amend(session, lambda now: replace(now, log_level=level))
        await finish(post.exchange, post.accept, (200, wire.result_message(request.id, b"{}")))

    async def _hear(self, post: Post, session: SessionRecord, notification: ClientNotification) -> None:
        if notification.method == "notifications/cancelled":
            with contextlib.suppress(Refusal):  # malformed ones are ignored (MCP 2025-11-25, Cancellation)
                parameters = decode_parameters(CancelledParameters, notification.params)
                if parameters.request_id is not None:
                    await self._calls_in_flight.cancel_anywhere(session, parameters.request_id)
        elif notification.method == "notifications/initialized" and not session.initialized:
            await self._sessions.amend(session, lambda now: replace(now, initialized=True))
        elif notification.method == "notifications/roots/list_changed":
            await self._tool_calls.notify(post.ctx, caller_of(post, session), method=notification.method)
        elif notification.method not in KNOWN_NOTIFICATIONS:
            caller = caller_of(post, session)
            await self._requests.notify(post.ctx, caller, method=notification.method, params=notification.params)


async def _refuse_method(_: Post, request: Request, __: SessionRecord | None) -> None:
    raise MethodUnknown(request.method)


def can_be_asked(post: Post, session: SessionRecord) -> bool:
    """Whether requests of a backend can be put to the client: it has declared that, and takes a stream to read them."""
    return post.accept.sse and _declares_questions(session.capabilities_json)


@lru_cache(maxsize=1024)
def _declares_questions(capabilities_json: bytes) -> bool:
    """Clients repeat the same few objects for ever; reading each once is a memo, not state."""
    return any(b'"%b"' % name.encode() in capabilities_json for name in SERVER_REQUESTS.values())


def caller_of(post: Post, session: SessionRecord | None) -> Caller:
    """Who calls, as the backends are told. Without a session nothing is known but the header."""
    if session is not None:
        return Caller(
            session_id=session.id,
            protocol_version=session.protocol_version,
            client_info_json=session.client_info_json,
            capabilities_json=session.capabilities_json,
            modern=False,
            log_level=session.log_level,
            relays_server_requests=can_be_asked(post, session),
        )
    return Caller(
        session_id=None,
        protocol_version=post.headers.text(h.PROTOCOL_VERSION) or ASSUMED_VERSION,
        client_info_json=b"{}",
        capabilities_json=b"{}",
        modern=False,
    )


def _unknown_tool_result(name: str) -> bytes:
    """What a model can read and act upon (reference/compatibility.md B6); a foreign tool gets the same bytes."""
    text = msgspec.json.encode(f"Unknown tool: {name}")
    return b'{"content":[{"type":"text","text":%b}],"isError":true}' % text
