"""The ASGI skin around every /v1 handler: method, body, errors, disconnect. No knowledge of models or tools here.

A handler gets an `Inbound` and returns an `Answer` or an `EventStream`, or raises; whatever it raises leaves as an
OpenAI error body. When the client goes away the handler is cancelled, and with it every upstream request and tool.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.telemetry.logs import get_log
from gateway_proxy.tenancy.middleware import get_tenant_context
from openai_routes.errors import (
    MIB,
    BodyEncoded,
    BodyInterrupted,
    BodyTooLarge,
    ChatError,
    MethodNotAllowed,
    WireError,
    wire_error,
)
from openai_routes.stream import Answer, ByteStream, EventStream, send_answer, send_bytes, send_stream

BODY_LIMIT: Final = 25 * MIB
BODY_SECONDS: Final = 30.0
RECHECK_SECONDS: Final = 4.0
UNCHECKED_SECONDS: Final = 30.0
JSON: Final = "application/json"

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request with its whole body. Header names are lower case, as ASGI has them."""

    ctx: TenantContext
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    path_params: Mapping[str, str]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


IsStillWelcome = Callable[[Scope], Awaitable[bool]]
Handler = Callable[[Inbound], Awaitable[Answer | EventStream | ByteStream]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path. An instance is an ASGI app, so that Starlette leaves the methods, and thus the 405 body, to us."""

    handlers: Mapping[str, Handler] = field(default_factory=dict)
    fallback: Handler | None = None
    is_still_welcome: IsStillWelcome | None = None
    recheck_seconds: float = RECHECK_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises for what the client sent."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = self.handlers.get(method, self.fallback)
        try:
            if handler is None:
                raise MethodNotAllowed(scope["method"], tuple(sorted(self.handlers)))
            body = await read_body(scope, receive)
        except ChatError as error:
            await send_answer(error_answer(wire_error(error)), send)
            return
        inbound = Inbound(
            get_tenant_context(scope),
            scope["method"],
            scope["path"],
            scope.get("query_string", b""),
            tuple(scope["headers"]),
            scope.get("path_params", {}),
            body,
        )
        await self._until_unwanted(_serve(handler, inbound, send), scope, receive)

    async def _until_unwanted(self, work: Coroutine[Any, Any, None], scope: Scope, receive: Receive) -> None:
        """Run `work`, and cancel it as soon as the client is gone or its token is no longer good."""
        task = asyncio.create_task(work)
        watching = [asyncio.create_task(_disconnected(receive))]
        if self.is_still_welcome is not None:
            watching.append(asyncio.create_task(_unwelcome(self.is_still_welcome, scope, self.recheck_seconds)))
        try:
            await asyncio.wait([task, *watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in (task, *watching):
                other.cancel()
            await asyncio.wait([task, *watching])
        if not task.cancelled():
            task.result()


async def _serve(handler: Handler, inbound: Inbound, send: Send) -> None:
    """Run the handler and send what it returns or raises. The last boundary before the server."""
    try:
        answer = await handler(inbound)
    except Exception as error:  # noqa: BLE001 - the surface's boundary: whatever failed, the client gets OpenAI's shape
        await send_answer(error_answer(reported(error)), send)
        return
    if isinstance(answer, EventStream):
        await send_stream(answer, send, reported)
    elif isinstance(answer, ByteStream):
        await send_bytes(answer, send)
    else:
        await send_answer(answer, send)


def reported(error: BaseException) -> WireError:
    """The wire form of an error, with a log line for the ones that are our fault. Only the class name is logged."""
    found = wire_error(error)
    if found.code == "internal_error":
        log.error("openai_request_failed", reason=type(error).__name__, exc_info=error)
    return found


def error_answer(error: WireError) -> Answer:
    """A wire error as an answer."""
    return Answer(error.status, error.body(), JSON, error.headers)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unwelcome(is_still_welcome: IsStillWelcome, scope: Scope, seconds: float) -> None:
    """Return once the token of a request under way is no longer good, or could not be checked for too long."""
    unchecked = 0.0
    while unchecked < UNCHECKED_SECONDS:
        await asyncio.sleep(seconds)
        try:
            if not await is_still_welcome(scope):
                return
            unchecked = 0.0
        except StorageUnavailable:
            unchecked += seconds


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The request body, at most 25 MiB within 30 s.

    Raises:
        BodyTooLarge: Declared or found to be larger.
        BodyEncoded: It has a Content-Encoding.
        BodyInterrupted: The client went away or stalled.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > BODY_LIMIT):
            raise BodyTooLarge(BODY_LIMIT)
        if name == b"content-encoding" and value.lower() != b"identity":
            raise BodyEncoded
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyInterrupted
                part = message.get("body", b"")
                size += len(part)
                if size > BODY_LIMIT:
                    raise BodyTooLarge(BODY_LIMIT)
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        raise BodyInterrupted from None
    return parts[0] if len(parts) == 1 else b"".join(parts)
