"""Speaks to the endpoint from inside the process: one message in, its answers out, without HTTP between.

The transports that are not streamable HTTP (stdio, HTTP+SSE) are thin because of this: whatever /mcp can do, they can.
Who the caller is was decided before; no token is looked at here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from starlette.types import ASGIApp, Message

from gateway_proxy.backends.sse import SseParser
from gateway_proxy.domain.surrogates import replace_lone_surrogates
from gateway_proxy.domain.tenant import TenantContext

Emit = Callable[[bytes], Awaitable[None]]
"""Takes one complete JSON-RPC message for the client."""

ACCEPT: Final = b"application/json, text/event-stream"
EVENT_LIMIT: Final = 16 * 1024 * 1024
MODERN_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
LOOPBACK: Final = "gateway_proxy.loopback"
"""In the scope: the transport has no headers that repeat what the body says, so none are missing; and its one stream
cannot be left and come back to, so that nothing may be kept for later.
"""


class Meta(msgspec.Struct):
    """The one key of `_meta` that says which era a message belongs to."""

    version: str | None = msgspec.field(default=None, name=MODERN_VERSION_KEY)


class Parameters(msgspec.Struct):
    """As much of the parameters as that takes."""

    meta: Meta = msgspec.field(default_factory=Meta, name="_meta")


class Outline(msgspec.Struct):
    """As much of a message as choosing its way needs."""

    method: str | None = None
    id: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


_outline: Final = msgspec.json.Decoder(Outline)
_parameters: Final = msgspec.json.Decoder(Parameters)


def outline_of(message: bytes) -> Outline:
    """The outline; an empty one for what is no message, which the endpoint then refuses in its own words."""
    try:
        return _outline.decode(replace_lone_surrogates(message))
    except (msgspec.MsgspecError, RecursionError):
        return Outline()


def transport_headers(outline: Outline) -> list[tuple[bytes, bytes]]:
    """The header that says which era a message belongs to; none for a client of the handshake era."""
    try:
        parameters = _parameters.decode(outline.params) if outline.params else Parameters()
    except (msgspec.MsgspecError, RecursionError):
        return []
    version = parameters.meta.version
    if version is None or outline.method is None:
        return []
    return [(b"mcp-protocol-version", version.encode())]


@dataclass(slots=True)
class Outcome:
    """How one exchange ended: the HTTP status that was not sent, and the session that was opened, if any."""

    status: int = 0
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Loopback:
    """The endpoint as `ctx` may use it."""

    endpoint: ASGIApp
    ctx: TenantContext

    async def exchange(
        self,
        method: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        emit: Emit,
        *,
        session_id: str | None,
        accept: bytes = ACCEPT,
    ) -> Outcome:
        """Send one request; every message of its answer goes to `emit`. Cancel it to hang up."""
        sent = [(b"content-type", b"application/json"), (b"accept", accept), *headers]
        if session_id is not None:
            sent.append((b"mcp-session-id", session_id.encode("ascii", "replace")))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "root_path": "",
            "headers": sent,
            "client": None,
            "server": None,
            LOOPBACK: True,
            "state": {"principal": self.ctx.principal, "tenant": self.ctx.tenant, "tenant_context": self.ctx},
        }
        pipe = _Pipe(body, emit)
        await self.endpoint(scope, pipe.receive, pipe.send)
        return pipe.outcome


@dataclass(slots=True)
class _Pipe:
    """The two ASGI callables of one exchange."""

    body: bytes
    emit: Emit
    outcome: Outcome = field(default_factory=Outcome)
    _is_read: bool = False
    _parser: SseParser | None = None
    _whole: bytearray = field(default_factory=bytearray)

    async def receive(self) -> Message:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await asyncio.Event().wait()  # nobody hangs up but by cancelling
        raise AssertionError("unreachable")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self.outcome.status = message["status"]
            session_id = headers.get(b"mcp-session-id")
            self.outcome.session_id = None if session_id is None else session_id.decode("ascii")
            if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                self._parser = SseParser(EVENT_LIMIT)
            return
        chunk: bytes = message.get("body", b"")
        if self._parser is not None:
            for event in self._parser.feed(chunk):
                await self.emit(event)
            return
        self._whole += chunk
        if not message.get("more_body", False) and self._whole:
            await self.emit(bytes(self._whole))
