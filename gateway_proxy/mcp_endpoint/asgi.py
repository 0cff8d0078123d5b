"""The door of /mcp: method, origin and era, then one of the two legs. Bare ASGI, behind RequireScope and ResolveTenant.

Tokens are read by the middleware in front, from the header only; nothing of the query is looked at here.
"""

import asyncio
import contextlib
from typing import Final

from starlette.types import Receive, Scope, Send

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError, SessionUnknown, StorageUnavailable
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.domain.whole_answer import EXTENSION
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import sse, wire
from gateway_proxy.mcp_endpoint.attendant import Stop
from gateway_proxy.mcp_endpoint.batches import Batches
from gateway_proxy.mcp_endpoint.call_reply import finish
from gateway_proxy.mcp_endpoint.calls_in_flight import CallsInFlight
from gateway_proxy.mcp_endpoint.config import EndpointConfig, IsStillWelcome
from gateway_proxy.mcp_endpoint.errors import MODERN_STATUS, Refusal, refusal_of
from gateway_proxy.mcp_endpoint.exchange import ClientLeft, Exchange
from gateway_proxy.mcp_endpoint.headers import McpHeaders, read_headers
from gateway_proxy.mcp_endpoint.kept_streams import KeptStreams
from gateway_proxy.mcp_endpoint.legacy import LegacyLeg, caller_of
from gateway_proxy.mcp_endpoint.listening import Listening
from gateway_proxy.mcp_endpoint.loopback import LOOPBACK
from gateway_proxy.mcp_endpoint.modern import ModernLeg
from gateway_proxy.mcp_endpoint.open_streams import OpenStreams
from gateway_proxy.mcp_endpoint.parked_calls import ParkedCalls
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.questions import Questions
from gateway_proxy.mcp_endpoint.request_states import RequestStates, Sealer
from gateway_proxy.mcp_endpoint.routing import Announcer, Requester, TenantCatalog, ToolCaller
from gateway_proxy.mcp_endpoint.session_news import SessionNews
from gateway_proxy.mcp_endpoint.subscriptions import Subscriptions
from gateway_proxy.mcp_endpoint.versions import HANDSHAKE_VERSIONS
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.sessions.mailbox import Letter
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.memory_mailbox import MemoryMailbox
from gateway_proxy.sessions.opening import Crossing
from gateway_proxy.sessions.store import SessionStore
from gateway_proxy.tenancy.middleware import get_tenant_context

ALLOWED: Final = "GET, HEAD, POST, DELETE"
SESSION_ENDED: Final = "session-ended"
STOPPED: Final = {
    Stop.BODY_LATE: Refusal(408, wire.INVALID_REQUEST, "The body did not arrive in time"),
    Stop.CANCELLED: Refusal(200, wire.REQUEST_CANCELLED, "Request cancelled"),
    Stop.NOT_WELCOME: Refusal(200, wire.UNAVAILABLE, "The token is no longer valid"),
    Stop.SESSION_ENDED: Refusal(404, wire.INVALID_REQUEST, "The session was ended"),
    Stop.UNATTENDED: Refusal(200, wire.INTERNAL_ERROR, "The gateway could not relay this request"),
    Stop.TIME_UP: Refusal(200, wire.UNAVAILABLE, "The stream was open for as long as it may; come back for the rest"),
    Stop.DRAINING: Refusal(503, wire.UNAVAILABLE, "The gateway is restarting; try again", retry_after=1.0),
}
"""Last words by reason; a client that is gone or does not read gets none."""


class McpEndpoint:
    """The ASGI application behind /mcp."""

    def __init__(
        self,
        catalog: TenantCatalog,
        tool_calls: ToolCaller,
        requests: Requester,
        sessions: SessionStore,
        clock: Clock,
        config: EndpointConfig,
        *,
        is_still_welcome: IsStillWelcome | None = None,
        crossing: Crossing | None = None,
        sealer: Sealer | None = None,
        announcer: Announcer | None = None,
    ) -> None:
        """Without a `crossing` this is the only worker, and without a `sealer` no other can open what it seals."""
        self._tool_calls = tool_calls
        self._sessions = sessions
        self._clock = clock
        self._limits = config.limits
        self._is_allowed_origin = config.is_allowed_origin
        self._is_still_welcome = is_still_welcome
        crossing = crossing or Crossing(MemoryMailbox(), MemoryEventLog(clock))
        self._mailbox, event_log = crossing.mailbox, crossing.event_log
        self._mailbox.on(SESSION_ENDED, self._take_session_ended)
        self._alarms = Alarms()
        self._calls_in_flight = CallsInFlight(self._mailbox)
        self._streams = OpenStreams(config.limits)
        self._news = SessionNews(announcer, self._mailbox, event_log, config.limits)
        self._listening = Listening(self._mailbox, event_log, self._streams, self._news, config.limits)
        self._kept_streams = KeptStreams(self._mailbox, event_log, config.limits)
        questions, in_flight, kept = Questions(self._mailbox), self._calls_in_flight, self._kept_streams
        batches = Batches(self)
        self._legacy = LegacyLeg(catalog, tool_calls, requests, sessions, in_flight, questions, kept, batches, config)
        states = RequestStates(sealer or Keyring((new_session_id(),)), clock)
        self._parked_calls = ParkedCalls(self._mailbox, states, config.limits)
        subscriptions = Subscriptions(announcer, self._streams)
        handshake = self._legacy.initialize
        self._modern = ModernLeg(
            catalog, tool_calls, requests, states, self._parked_calls, subscriptions, handshake, config
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = read_headers(scope["headers"])
        sends_whole = EXTENSION in scope.get("extensions", ())
        is_loopback = LOOPBACK in scope
        headers.repeats_body = not is_loopback
        post = Post(
            Exchange(
                receive,
                send,
                self._clock,
                self._limits,
                self._alarms,
                sends_whole=sends_whole,
                can_come_back=not is_loopback,
            ),
            headers,
            headers.accept,
            get_tenant_context(scope),
        )
        try:
            await self._serve(scope, post)
        except Refusal as refusal:
            await _refuse(post, refusal)
        except GatewayError as error:
            await _refuse(post, refusal_of(error))
        except ClientLeft:
            return
        except asyncio.CancelledError:
            if post.exchange.stopped is None:
                raise  # the server is going down, and not at our wish
            await self._end(post)
        finally:
            await post.exchange.close()

    def close_streams(self) -> None:
        """Tell the holders of GET streams to come back in a second, and hang up: this worker stops serving."""
        self._streams.end_all()

    async def close(self) -> None:
        """Let go of calls that go on without their client."""
        await self._kept_streams.close()
        await self._parked_calls.close()
        await self._news.close()

    @property
    def calls_under_way(self) -> int:
        """How many calls of sessions this worker is serving."""
        return len(self._calls_in_flight)

    async def _serve(self, scope: Scope, post: Post) -> None:
        origin = post.headers.value(h.ORIGIN)
        if origin is not None and (post.headers.duplicated == "origin" or not self._is_allowed_origin(origin)):
            raise Refusal(403, wire.INVALID_REQUEST, "Origin: not allowed here")
        if self._is_still_welcome is not None:
            is_welcome = self._is_still_welcome
            post.exchange.is_welcome = lambda: is_welcome(scope)
        method, modern = scope["method"], is_modern(post.headers)
        if post.headers.duplicated == "mcp-protocol-version" and not modern:
            raise Refusal(400, wire.HEADER_MISMATCH, "Header mismatch: mcp-protocol-version appears more than once")
        if method == "POST":
            _check_content(post)
            post.body = await post.exchange.read_body(post.headers.content_length)
            await (self._modern if modern else self._legacy).answer(post)
        elif modern:
            raise Refusal(405, wire.INVALID_REQUEST, "This protocol version knows only POST", allow="POST")
        elif method in ("GET", "HEAD"):
            await self._answer_get(scope, post, head=method == "HEAD")
        elif method == "DELETE":
            await self._answer_delete(post)
        elif method == "OPTIONS":
            await post.exchange.answer_empty(204, ((b"allow", ALLOWED.encode()),))
        else:
            raise Refusal(405, wire.INVALID_REQUEST, "Method not allowed", allow=ALLOWED)

    async def _answer_get(self, scope: Scope, post: Post, *, head: bool) -> None:
        """Hold the stream for messages that belong to no call (MCP 2025-11-25, Listening for Messages)."""
        session = await self._legacy.find_session(post.headers, post.ctx)
        if session is None:
            raise Refusal(405, wire.INVALID_REQUEST, "GET needs a session: send Mcp-Session-Id", allow="POST")
        if not post.accept.sse:
            raise Refusal(406, wire.INVALID_REQUEST, "Accept: expected text/event-stream")
        if head:
            await post.exchange.answer_head((*sse.HEADERS, (h.SESSION_ID, session.id.encode("ascii"))))
            return
        caller = caller_of(post, session)
        await self._listening.serve(
            post, session, caller, lambda: self._is_stream_welcome(scope, post.headers, post.ctx)
        )

    async def _is_stream_welcome(self, scope: Scope, headers: McpHeaders, ctx: TenantContext) -> bool:
        try:
            session = await self._legacy.find_session(headers, ctx)
        except SessionUnknown:
            return False
        if session is not None:
            self._news.refresh(session)
        return self._is_still_welcome is None or await self._is_still_welcome(scope)

    async def _answer_delete(self, post: Post) -> None:
        """End the session, here at once, elsewhere as the news spreads (MCP 2025-11-25, Session Management 5)."""
        session = await self._legacy.find_session(post.headers, post.ctx)
        if session is None:
            raise Refusal(400, wire.INVALID_REQUEST, "Mcp-Session-Id: missing")
        await self._sessions.end(session.id, tenant_id=session.tenant_id)
        letter = Letter(SESSION_ENDED, session.tenant_id, session.user_id, session.id, "")
        await self._take_session_ended(letter)
        with contextlib.suppress(
            StorageUnavailable
        ):  # the session is gone; streams elsewhere notice at their next tick
            await self._mailbox.broadcast(letter)
        await post.exchange.answer_empty(204)

    async def _take_session_ended(self, letter: Letter) -> None:
        if letter.session_id is not None:
            self._calls_in_flight.end_session(letter.session_id)
            self._streams.end_session(letter.tenant_id, letter.user_id, letter.session_id)
            self._news.end_session(letter.session_id)
            self._tool_calls.end_session(letter.session_id)

    async def _end(self, post: Post) -> None:
        """Meet the cancellation that a `stop` of ours caused, and say why, if there is anybody to say it to."""
        exchange = post.exchange
        reason = exchange.restart()
        refusal = None if reason is None else STOPPED.get(reason)
        if refusal is None or (exchange.is_finished and not exchange.is_detached):
            return
        if reason is Stop.DRAINING and post.farewell is not None:
            await exchange.write_last_event(post.farewell)
        elif exchange.is_streaming and post.request_id is wire.NO_ID:
            await exchange.end_stream(sse.retry(self._limits.reconnect_ms))
        else:
            await _refuse(post, refusal)


def is_modern(headers: McpHeaders) -> bool:
    """Whether the request belongs to the modern leg: a version is declared and it is not one of the handshake's."""
    declared = headers.text(h.PROTOCOL_VERSION)
    return declared is not None and declared not in HANDSHAKE_VERSIONS


def _check_content(post: Post) -> None:
    """What a POST says of its body and of the answer it takes.

    Raises:
        Refusal: 415 or 406.
    """
    if not post.headers.has_json_body:
        raise Refusal(415, wire.INVALID_REQUEST, "Content-Type: expected application/json in UTF-8, not compressed")
    if not (post.accept.json or post.accept.sse):
        raise Refusal(406, wire.INVALID_REQUEST, "Accept: expected application/json and text/event-stream")


async def _refuse(post: Post, refusal: Refusal) -> None:
    """Answer with an error: as the last event of a stream that has begun, else with its HTTP status."""
    exchange = post.exchange
    if exchange.is_started and not exchange.is_streaming:
        return
    request_id = post.request_id if refusal.request_id is None else refusal.request_id
    body = refusal.body(request_id)
    status = refusal.status
    if status == 200 and is_modern(post.headers):
        status = MODERN_STATUS.get(refusal.code, 200)
    if status == 200 and request_id is wire.NO_ID:
        status = 400  # a notification is accepted or refused, and never answered
    headers = []
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
    if refusal.allow is not None:
        headers.append((b"allow", refusal.allow.encode("ascii")))
    await finish(exchange, post.accept, (status, body), headers)
