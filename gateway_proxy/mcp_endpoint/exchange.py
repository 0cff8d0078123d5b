"""One HTTP exchange of /mcp: reads the body, writes one JSON answer or a stream of events, and notices the client.

While a call is quick it costs one alarm. When it takes its time, an `Attendant` joins. JSON-RPC has no place here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from typing import Final, Protocol

from starlette.types import Message, Receive, Send

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.whole_answer import BODY
from gateway_proxy.mcp_endpoint import sse, wire
from gateway_proxy.mcp_endpoint.attendant import Attendant, Stop
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.errors import Refusal

JSON_HEADERS: Final = ((b"content-type", b"application/json"),)


class ClientLeft(Exception):  # not an error: the client is free to go
    """The client hung up before its request was complete."""


class Keeper(Protocol):
    """Remembers what is written to a stream, so that it can go on without its client."""

    def begin(self) -> bytes:
        """The first event of the stream."""

    def keep(self, message: bytes, *, is_last: bool) -> bytes:
        """Remember a message; the event to write."""

    def client_left(self) -> bool:
        """Whether the exchange is to go on though nobody is connected any more."""


class Exchange:
    """The two ends of one request. Make it in the task that serves the request; `close` it there, whatever happens.

    `is_welcome` is asked at every tick while a stream is open. `takes_sse` says whether a silent call may become one.
    With a `keeper` a stream outlives its connection: `is_detached` from then on, nothing more is sent.
    """

    __slots__ = (
        "_alarms",
        "_attendant",
        "_clock",
        "_context",
        "_ending",
        "_is_late",
        "_limits",
        "_lock",
        "_loop",
        "_reading",
        "_receive",
        "_send",
        "_sends_whole",
        "_task",
        "can_come_back",
        "is_detached",
        "is_finished",
        "is_started",
        "is_streaming",
        "is_welcome",
        "keeper",
        "returns",
        "stopped",
        "takes_sse",
        "writing_since",
        "wrote_at",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        clock: Clock,
        limits: EndpointLimits,
        alarms: Alarms,
        *,
        sends_whole: bool = False,
        can_come_back: bool = True,
    ) -> None:
        """`sends_whole` says that `send` understands `domain.whole_answer`.

        `can_come_back`: the transport has a way to ask for the rest of a stream.
        """
        task = asyncio.current_task()
        assert task is not None
        self._receive = receive
        self._send = send
        self._sends_whole = sends_whole
        self._clock = clock
        self._limits = limits
        self._task = task
        self._context = copy_context()  # 3.12's tasks tell theirs
        self._loop = task.get_loop()
        self._attendant: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._lock: asyncio.Lock | None = None
        self._reading = True
        self.returns = False
        self._is_late = False
        self.writing_since: float | None = None
        self.wrote_at = 0.0
        self.can_come_back = can_come_back
        self.takes_sse = False
        self.is_welcome: Callable[[], Awaitable[bool]] | None = None
        self.is_streaming = False
        self.is_started = False
        self.is_finished = False
        self.is_detached = False
        self.keeper: Keeper | None = None
        self.stopped: Stop | None = None
        self._alarms = alarms
        alarms.set(self, self._loop.time() + limits.attend_after)

    @property
    def is_kept(self) -> bool:
        """Whether what is said is remembered for a client that comes back."""
        return self.keeper is not None

    async def read_body(self, declared: int | None) -> bytes:
        """The request's body, at most `body_bytes` long and within `body_seconds`.

        Raises:
            Refusal: 413 for a body over the limit.
            ClientLeft: It hung up while sending.
        """
        limit = self._limits.body_bytes
        if declared is not None and declared > limit:
            raise _too_large(limit)
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False) and len(body) <= limit:
            parts, size = [body], len(body)
            while message.get("more_body", False) and size <= limit:
                message = await self._receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if message["type"] == "http.disconnect":
            raise ClientLeft
        if len(body) > limit:
            raise _too_large(limit)
        self._has_read()
        return body

    def answer_json(
        self, body: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> Awaitable[None]:
        """Write the one answer of the exchange."""
        head = [*JSON_HEADERS, (b"content-length", b"%d" % len(body)), *headers]
        self.is_started = self.is_finished = True
        message: Message = {"type": "http.response.start", "status": status, "headers": head}
        if self._sends_whole:
            message[BODY] = body
            return self._emit(message)
        return self._emit(message, {"type": "http.response.body", "body": body, "more_body": False})

    async def answer_empty(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Write an answer without a body. A 204 has none by itself, and must not say so (RFC 9110 §8.6)."""
        length = () if status == 204 else ((b"content-length", b"0"),)
        await self._start(status, [*length, *headers])
        await self._write(b"", more=False)

    async def answer_head(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Answer a HEAD: what a GET would begin with, and no more."""
        await self._start(200, list(headers))
        await self._write(b"", more=False)

    async def open_stream(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Begin a stream of events, unless it has begun."""
        if not self.is_streaming:
            self.is_streaming = True
            await self._start(200, [*sse.HEADERS, *headers], None if self.keeper is None else self.keeper.begin())

    async def write_event(self, message: bytes) -> None:
        """Write one JSON-RPC message to the stream."""
        await self._write(self._event(message, is_last=False))

    async def write_last_event(self, message: bytes) -> None:
        """Write the message that ends the stream."""
        await self._write(self._event(message, is_last=True), more=False)

    async def write_raw(self, events: bytes) -> None:
        """Write complete events, ids and all."""
        await self._write(events)

    async def write_comment(self) -> None:
        """Write a heartbeat, which also makes proxies pass on the headers of a fresh stream."""
        await self._write(sse.HEARTBEAT)

    async def end_stream(self, last_words: bytes = b"") -> None:
        """End the stream without a message."""
        await self._write(last_words, more=False)

    async def wait(self) -> None:
        """Do nothing until the exchange is stopped."""
        await asyncio.Event().wait()

    def stop(self, reason: Stop) -> None:
        """End the exchange from outside: whatever its task waits for is cancelled, and with it the upstream call."""
        if self.stopped is None:
            self.stopped = reason
            self._task.cancel()

    def let_go(self) -> None:
        """End the connection of a kept stream and go on without it; nothing happens if the keeper will not have it."""
        if not self.is_detached and not self.is_finished and self.outlives_client():
            self._ending = self._loop.create_task(self._end_connection(), name="mcp-let-go")

    def outlives_client(self) -> bool:
        """The client is gone. Whether this is a kept stream, which from now on goes on without one."""
        if self.keeper is None or not self.is_streaming or self.is_finished or not self.keeper.client_left():
            return False
        self.is_detached = True
        return True

    def restart(self) -> Stop | None:
        """The reason of the `stop` whose cancellation the exchange's own task has just met, to say last words."""
        self._task.uncancel()
        return self.stopped

    def begin_serving(self, is_welcome: Callable[[], Awaitable[bool]]) -> None:
        """There is no body to read (GET). `is_welcome` is asked at every tick from now on."""
        self._has_read()
        self.returns = self.can_come_back
        self.is_welcome = is_welcome

    async def close(self) -> None:
        """Send the attendant away. No `stop` has an effect afterwards. An attendant's own fault is raised here."""
        self._alarms.call_off(self)
        self.stopped = self.stopped or Stop.DRAINING
        if self._ending is not None:
            await asyncio.wait({self._ending}, timeout=self._limits.tick)
            self._ending.cancel()
        # they hold the exchange: without the cycles nothing of a call or stream is left to the collector
        self.keeper = self.is_welcome = None
        attendant = self._attendant
        if attendant is None:
            return
        attendant.cancel()
        await asyncio.wait({attendant})
        if not attendant.cancelled():
            attendant.result()

    def _has_read(self) -> None:
        """The request is read. If that was slow, the alarm stands at the end of the body's time, far too late."""
        self._reading = False
        if self._is_late:
            self._is_late = False  # once: a second alarm would bring a second attendant
            self._alarms.set(self, self._loop.time() + self._limits.attend_after)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]], first: bytes | None = None) -> None:
        """Begin the answer; `first` follows at once, before anybody else can write."""
        self.is_started = True
        following = None if first is None else {"type": "http.response.body", "body": first, "more_body": True}
        await self._emit({"type": "http.response.start", "status": status, "headers": headers}, following)

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        if not self.is_finished:
            self.is_finished = not more
            if not self.is_detached:
                await self._emit({"type": "http.response.body", "body": body, "more_body": more})

    def _event(self, message: bytes, *, is_last: bool) -> bytes:
        return sse.event(message) if self.keeper is None else self.keeper.keep(message, is_last=is_last)

    async def _end_connection(self) -> None:
        """End the response, so that its connection is free. A client that is gone without a word may block it."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._limits.slow_reader):
                await self._emit({"type": "http.response.body", "body": b"", "more_body": False})

    async def _emit(self, message: Message, following: Message | None = None) -> None:
        """Hand a message to the server, or two at once; one at a time once there is an attendant who also writes."""
        lock = self._lock
        if lock is not None:
            await lock.acquire()
        began = self.writing_since = self._clock.monotonic()
        try:
            await self._send(message)
            if following is not None:
                await self._send(following)
        finally:
            self.writing_since = None
            self.wrote_at = began
            if lock is not None:
                lock.release()

    def ring(self) -> None:
        """The exchange takes its time; the second time while it is still read, too much."""
        if self._reading and self._is_late:
            self.stop(Stop.BODY_LATE)
        elif self._reading:
            self._is_late = True
            self._alarms.set(self, self._loop.time() + self._limits.body_seconds)
        else:
            self._lock = asyncio.Lock()
            watching = Attendant(self, self._receive, self._clock, self._limits).watch()
            self._attendant = self._loop.create_task(watching, name="mcp-attendant", context=self._context)
            self._attendant.add_done_callback(self._left_alone)

    def _left_alone(self, attendant: asyncio.Task[None]) -> None:
        """An exchange whose attendant failed would never notice its client leaving."""
        if not attendant.cancelled() and attendant.exception() is not None:
            self.stop(Stop.UNATTENDED)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, wire.INVALID_REQUEST, f"The body is larger than {limit} bytes")
