"""JSON-RPC batches, which 2025-03-26 has and no other revision (Streamable HTTP, Sending Messages).

Each message goes through the endpoint by itself, all at the same time, as if it had come alone; what they are answered
comes back together: on one stream, or as one array for a client that takes no streams.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import ASGIApp

from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.errors import Refusal
from gateway_proxy.mcp_endpoint.loopback import ACCEPT, Loopback, Outline, outline_of
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.versions import ASSUMED_VERSION, BATCH_VERSION

MAX_MESSAGES: Final = 64
NOT_A_MESSAGE: Final = Refusal(400, wire.INVALID_REQUEST, "Invalid request: expected one JSON-RPC message, an object")

_messages: Final = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Batches:
    """Serves them, over and over through the `endpoint` that they came to."""

    endpoint: ASGIApp

    async def answer(self, post: Post, session: SessionRecord | None) -> None:
        """Serve every message of a batch.

        Raises:
            Refusal: The revision has none, or it is empty, too long, or no array of messages.
        """
        version = post.headers.text(h.PROTOCOL_VERSION) if session is None else session.protocol_version
        if (version or ASSUMED_VERSION) != BATCH_VERSION:
            raise Refusal(
                400, wire.INVALID_REQUEST, "Invalid request: this revision has no batches; send one message each"
            )
        messages = _read(post.body)
        outlines = [outline_of(message) for message in messages]
        if any(outline.method == "initialize" for outline in outlines):
            raise Refusal(400, wire.INVALID_REQUEST, "Invalid request: initialize must not be part of a batch")
        replies = _Replies(post, streams=post.accept.sse and any(map(_is_request, outlines)))
        loopback = Loopback(self.endpoint, post.ctx)
        async with asyncio.TaskGroup() as tasks:
            for message in messages:
                tasks.create_task(_answer_one(loopback, post, session, message, replies))
        await replies.finish()


async def _answer_one(
    loopback: Loopback, post: Post, session: SessionRecord | None, message: bytes, replies: "_Replies"
) -> None:
    if message[:1] != b"{":
        await replies.take(NOT_A_MESSAGE.body(wire.NO_ID))
        return
    names = (h.PROTOCOL_VERSION, h.AUTHORIZATION)
    sent = [(name, post.headers.values[name]) for name in names if name in post.headers.values]
    await loopback.exchange(
        "POST",
        message,
        sent,
        replies.take,
        session_id=None if session is None else session.id,
        accept=ACCEPT if post.accept.sse else b"application/json",
    )


class _Replies:
    """What comes back: written to the stream as it comes, or gathered."""

    def __init__(self, post: Post, *, streams: bool) -> None:
        self._post = post
        self._streams = streams
        self._gathered: list[bytes] = []
        self._writing = asyncio.Lock()

    async def take(self, message: bytes) -> None:
        """One message for the client."""
        if not self._streams:
            self._gathered.append(message)
            return
        async with self._writing:
            await self._post.exchange.open_stream()
            await self._post.exchange.write_event(message)

    async def finish(self) -> None:
        """Every message has been dealt with; notifications and responses have no reply."""
        exchange = self._post.exchange
        if exchange.is_streaming:
            await exchange.end_stream()
        elif self._gathered:
            await exchange.answer_json(b"[" + b",".join(self._gathered) + b"]")
        else:
            await exchange.answer_empty(202)


def _read(body: bytes) -> list[bytes]:
    try:
        if not body.isascii():
            body.decode("utf-8")
        messages = [bytes(raw) for raw in _messages.decode(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, wire.PARSE_ERROR, "Parse error: the body is not JSON in UTF-8") from None
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise Refusal(400, wire.INVALID_REQUEST, f"Invalid request: expected 1 to {MAX_MESSAGES} messages")
    return messages


def _is_request(outline: Outline) -> bool:
    return bool(outline.id) and outline.method is not None
