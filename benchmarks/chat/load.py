"""Asks for streamed chats over keep-alive connections: when the first word came, and how many came. No targets here."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final, cast

import httptools

WORD: Final = b'" word'
GRACE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: seconds to its first word, and the number of words."""

    first: float
    words: int


def question(host: str, text: str, *, words: int, pause: float = 0.0, key: str = "", tool: str = "") -> bytes:
    """A chat request for the scripted provider, which reads the number of words and the milliseconds between them."""
    body: dict[str, object] = {
        "model": "m",
        "stream": True,
        "seed": words,
        "top_p": pause,
        "messages": [{"role": "user", "content": text}],
    }
    if tool:
        body["tools"] = [{"type": "function", "function": {"name": tool, "parameters": {"type": "object"}}}]
    data = json.dumps(body).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        f"content-length: {len(data)}",
        *([f"authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class ChatConnection(asyncio.Protocol):
    """One keep-alive connection, one chat at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._sent_at = self._first = 0.0
        self._waiter: asyncio.Future[None] | None = None

    async def ask(self, request: bytes) -> Heard:
        """Send a request and read its answer to the end.

        Raises:
            RuntimeError: It was no stream that ended as it should.
        """
        assert self._transport is not None
        self._pieces, self._first = [], 0.0
        self._waiter = self._loop.create_future()
        self._sent_at = time.perf_counter()
        self._transport.write(request)
        async with asyncio.timeout(GRACE_SECONDS):
            await self._waiter
        body = b"".join(self._pieces)
        if b"[DONE]" not in body[-64:]:
            raise RuntimeError(f"{self._parser.get_status_code()} {body[:300]!r}")
        return Heard(self._first, body.count(WORD))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    # --- called by the transport and the parser -------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("connection lost"))

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        if not self._first and WORD in body:
            self._first = time.perf_counter() - self._sent_at

    def on_message_complete(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect_chat(host: str, port: int) -> ChatConnection:
    """Open a connection."""
    _, connection = await asyncio.get_running_loop().create_connection(ChatConnection, host, port)
    return connection
