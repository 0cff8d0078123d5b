"""The deprecated HTTP+SSE transport (MCP 2024-11-05): one stream at /sse, messages by POST to /messages/.

The stream is a session like any other, so a POST may reach any worker: what it is answered travels through the event
log to the worker that holds the stream. Everything else is the endpoint's, reached by loopback. Routes stand behind the
same door as /mcp; a stream of somebody else is the same as an unknown one.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.domain.errors import GatewayError, StorageUnavailable
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import sse, wire
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.mcp_endpoint.errors import Refusal, refusal_of
from gateway_proxy.mcp_endpoint.loopback import Loopback, outline_of
from gateway_proxy.sessions.event_log import EventLog, LogName
from gateway_proxy.sessions.store import SessionStore
from gateway_proxy.tenancy.middleware import get_tenant_context

VERSION: Final = "2024-11-05"
UNKNOWN: Final = Refusal(404, wire.INVALID_REQUEST, "session_id: no such stream; open /sse first")
TOO_LARGE: Final = Refusal(413, wire.INVALID_REQUEST, "The body is too large")
LATE: Final = Refusal(408, wire.INVALID_REQUEST, "The body did not arrive in time")
FOREIGN_ORIGIN: Final = Refusal(403, wire.INVALID_REQUEST, "Origin: not allowed here")


class HttpSse:
    """The ASGI applications behind /sse (`stream`) and /messages/ (`message`)."""

    def __init__(self, endpoint: ASGIApp, sessions: SessionStore, event_log: EventLog, config: EndpointConfig) -> None:
        self._endpoint = endpoint
        self._sessions = sessions
        self._event_log = event_log
        self._limits = config.limits
        self._is_allowed_origin = config.is_allowed_origin
        self._under_way: set[asyncio.Task[None]] = set()

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /sse: say where to post, then pass on messages until the client leaves or its token ends.

        HEAD, by which clients probe, is answered with the head alone: whoever sends it reads no stream.
        """
        if self._has_foreign_origin(scope):
            await _refuse(FOREIGN_ORIGIN, send)
            return
        start = {"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        ctx = get_tenant_context(scope)
        session = _new_session(ctx)
        try:
            await self._sessions.add(session)
        except GatewayError as error:
            await _refuse(refusal_of(error), send)
            return
        loopback = Loopback(self._endpoint, ctx)
        address = f"event: endpoint\ndata: /messages/?session_id={session.id}\n\n".encode()
        await send(start)
        await send({"type": "http.response.body", "body": address, "more_body": True})
        writing = asyncio.Lock()

        async def write(body: bytes) -> None:
            async with writing, asyncio.timeout(self._limits.slow_reader):
                await send({"type": "http.response.body", "body": body, "more_body": True})

        held = asyncio.create_task(
            _hold(loopback, session.id, _credentials(scope), lambda message: write(sse.event(message)))
        )
        try:
            await self._wait_for_end(held, receive, write)
        finally:
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)
            with contextlib.suppress(StorageUnavailable):
                await self._sessions.end(session.id, tenant_id=session.tenant_id)
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b""})

    async def _wait_for_end(self, held: asyncio.Task[None], receive: Receive, write: Any) -> None:
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            while not (held.done() or leaving.done()):
                done, _ = await asyncio.wait(
                    {held, leaving}, timeout=self._limits.heartbeat, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    await write(sse.HEARTBEAT)
        except (TimeoutError, OSError):
            return  # a reader that does not read
        finally:
            leaving.cancel()

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /messages/?session_id=…: take one message, say 202, answer on the stream."""
        ctx = get_tenant_context(scope)
        try:
            if self._has_foreign_origin(scope):
                raise FOREIGN_ORIGIN
            session = await self._find(scope, ctx)
            body = await self._read_body(receive)
        except Refusal as refusal:
            await _refuse(refusal, send)
            return
        except GatewayError as error:
            await _refuse(refusal_of(error), send)
            return
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"8")]})
        await send({"type": "http.response.body", "body": b"Accepted"})
        self._start(self._answer(Loopback(self._endpoint, ctx), session, body, _credentials(scope)))

    async def close(self) -> None:
        """Let calls under way go; their streams are gone."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _has_foreign_origin(self, scope: Scope) -> bool:
        """Whether a page calls that may not (MCP 2024-11-05, Transports, Security Warning)."""
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return len(origins) > 1 or not all(map(self._is_allowed_origin, origins))

    async def _find(self, scope: Scope, ctx: TenantContext) -> SessionRecord:
        named = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [])
        principal = ctx.principal
        session = None
        if len(named) == 1:
            session = await self._sessions.find(
                named[0], tenant_id=ctx.tenant.id, user_id=principal.user_id, client_id=principal.client_id
            )
        if session is None:
            raise UNKNOWN
        return session

    async def _read_body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    part = await receive()
                    body += part.get("body", b"")
                    if len(body) > self._limits.body_bytes:
                        raise TOO_LARGE
                    if not part.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise LATE from None

    async def _answer(
        self, loopback: Loopback, session: SessionRecord, body: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        name = LogName(session.tenant_id, session.id)
        with contextlib.suppress(StorageUnavailable):  # the client learns of it by its own time-out
            if outline_of(body).method != "initialize":
                await loopback.exchange(
                    "POST", body, headers, lambda said: self._event_log.tell(name, said), session_id=session.id
                )
                return
            answers: list[bytes] = []

            async def keep(said: bytes) -> None:
                answers.append(said)

            outcome = await loopback.exchange("POST", body, headers, keep, session_id=None)
            if outcome.session_id is not None:
                await self._take_over(session, outcome.session_id)
            for said in answers:
                await self._event_log.tell(name, said)

    async def _take_over(self, stream: SessionRecord, opened: str) -> None:
        """What the handshake opened becomes the stream's own session: its id is the one the client knows."""
        record = await self._sessions.find(
            opened, tenant_id=stream.tenant_id, user_id=stream.user_id, client_id=stream.client_id
        )
        if record is not None:
            await self._sessions.replace(replace(record, id=stream.id))
            await self._sessions.end(opened, tenant_id=stream.tenant_id)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _new_session(ctx: TenantContext) -> SessionRecord:
    return SessionRecord(
        id=new_session_id(),
        tenant_id=ctx.tenant.id,
        user_id=ctx.principal.user_id,
        client_id=ctx.principal.client_id,
        protocol_version=VERSION,
        client_info_json=b"{}",
        capabilities_json=b"{}",
    )


async def _hold(loopback: Loopback, session_id: str, headers: list[tuple[bytes, bytes]], emit: Any) -> None:
    await loopback.exchange("GET", b"", headers, emit, session_id=session_id)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _credentials(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The header by which the endpoint asks again and again whether the caller is still welcome."""
    return [(name, value) for name, value in scope["headers"] if name == b"authorization"]


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = refusal.body(wire.NO_ID)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
