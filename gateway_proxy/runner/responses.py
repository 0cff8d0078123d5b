"""The few ASGI messages that the runner answers with (bare ASGI 3: no framework on this path)."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_JSON: Final = (b"content-type", b"application/json")
_SSE_HEADERS: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))


class BodyTooLarge(Exception):
    """The request body is over the limit of its endpoint."""


class ClientGone(Exception):
    """The client closed the connection before it had sent its request."""


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """The whole request body.

    Raises:
        BodyTooLarge: More than `limit` bytes came.
        ClientGone: The connection ended half-way.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge
        return body
    chunks = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        chunks += message.get("body", b"")
        if len(chunks) > limit:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(chunks)
        message = await receive()


async def send_raw_json(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    """A complete JSON response from bytes."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, content: Mapping[str, Any] | list[Any], headers: Headers = ()) -> None:
    """A complete JSON response from plain values."""
    await send_raw_json(send, status, json.dumps(content).encode(), headers)


async def send_empty(send: Send, status: int) -> None:
    """A response without a body."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def start_events(send: Send, headers: Headers = ()) -> None:
    """The head of an SSE response, sent at once so that the reader knows it is heard."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_SSE_HEADERS, *headers]})


async def send_events(send: Send, messages: Iterable[bytes], *, last: bool) -> None:
    """Each message as one SSE event; they are single lines."""
    body = b"".join(b"event: message\ndata: %s\n\n" % message for message in messages)
    await send({"type": "http.response.body", "body": body, "more_body": not last})


async def send_heartbeat(send: Send) -> None:
    """A comment that every SSE reader skips; it shows both ends that the connection lives."""
    await send({"type": "http.response.body", "body": b": \n\n", "more_body": True})
