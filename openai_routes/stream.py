"""How an answer leaves: a whole body, or server-sent events with heartbeats. What the events say is decided elsewhere.

Headers of a stream are held back until the first event, or for `patience` seconds, so that an early failure keeps its
HTTP status; from then on a comment is sent whenever nothing else was for `heartbeat` seconds.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Send

from openai_routes.errors import WireError
from openai_routes.wire import SSE_DONE, sse_data

KEEP_ALIVE: Final = b": keep-alive\n\n"
SLOW_READER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `body` is complete and `content_type` without charset for JSON."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def error_event(error: WireError) -> bytes:
    """A failure inside a stream of chat chunks: SDKs raise it, Open WebUI keeps the text and shows a box."""
    return sse_data(error.body()) + SSE_DONE


@dataclass(frozen=True, slots=True)
class EventStream:
    """A streamed response: `frames` yields bytes that are whole events, `failed` says how one breaks off.

    Times in seconds.
    """

    frames: AsyncGenerator[bytes, None]
    headers: Mapping[str, str] = field(default_factory=dict)
    failed: Callable[[WireError], bytes] = error_event
    patience: float = 10.0
    heartbeat: float = 12.0


@dataclass(frozen=True, slots=True)
class ByteStream:
    """A response passed on as it comes: `chunks` are bytes of no particular shape."""

    status: int
    chunks: AsyncGenerator[bytes, None]
    headers: Mapping[str, str] = field(default_factory=dict)


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def send_answer(answer: Answer, send: Send) -> None:
    """Send a whole response."""
    headers = [
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", str(len(answer.body)).encode()),
        *_raw(answer.headers),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def send_bytes(stream: ByteStream, send: Send) -> None:
    """Send a response as it comes. A failure on the way breaks the connection, so that nobody takes it for the end."""
    async with aclosing(stream.chunks) as chunks:
        await send({"type": "http.response.start", "status": stream.status, "headers": _raw(stream.headers)})
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _Pipe:
    """The one way onto the wire for a stream and its heartbeat; knows if the headers went and when it last sent."""

    def __init__(self, stream: EventStream, send: Send) -> None:
        self._send = send
        self._headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *_raw(stream.headers),
        ]
        self._loop = asyncio.get_running_loop()
        self.started = False
        self.last = self._loop.time()
        self.pending_since: float | None = None

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send `data`, behind the headers if they have not gone yet."""
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        self.pending_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self.last = self._loop.time()
        self.pending_since = None

    async def beat(self, stream: EventStream, writer: asyncio.Task[None]) -> None:
        """Send comments while nothing else is sent, and end a stream whose reader does not read."""
        await asyncio.sleep(min(stream.patience, stream.heartbeat))
        while True:
            now = self._loop.time()
            if self.pending_since is not None:
                if now - self.pending_since > SLOW_READER_SECONDS:
                    writer.cancel()
                    return
            elif not self.started or now - self.last >= stream.heartbeat:
                try:
                    async with asyncio.timeout(SLOW_READER_SECONDS):
                        await self.write(KEEP_ALIVE)
                except TimeoutError:
                    writer.cancel()
                    return
            await asyncio.sleep(max(self.last + stream.heartbeat - self._loop.time(), stream.heartbeat / 10))


async def send_stream(stream: EventStream, send: Send, report: Callable[[BaseException], WireError]) -> None:
    """Send every frame of `stream`, then end. A failure before the headers has its status; later it is an event."""
    pipe = _Pipe(stream, send)
    writer = asyncio.current_task()
    assert writer is not None
    beat = asyncio.ensure_future(pipe.beat(stream, writer))
    failure: WireError | None = None
    try:
        async with aclosing(stream.frames) as frames:
            async for frame in frames:
                await pipe.write(frame)
    except Exception as error:  # noqa: BLE001 - the surface's boundary: a stream that began must still end properly
        failure = report(error)
    finally:
        beat.cancel()
        await asyncio.wait({beat})
    if failure is not None and not pipe.started:
        await send_answer(Answer(failure.status, failure.body(), headers=failure.headers), send)
        return
    await pipe.write(b"" if failure is None else stream.failed(failure), more=False)
