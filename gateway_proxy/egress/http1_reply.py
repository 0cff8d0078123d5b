"""The reply to one request of `http1`: what has arrived, and who waits for more. Parsing is the connection's."""

import asyncio
from collections import deque
from typing import Final, Protocol

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.errors import EgressError, ReplyTimedOut, ReplyTooLarge

PAUSE_ABOVE: Final = 256 * 1024


class Carrier(Protocol):
    """What a reply needs of the connection that it owns."""

    def pause(self, wanted: bool) -> None:
        """Stop or resume reading from the socket."""

    def finish(self, reply: "Http1Reply") -> None:
        """The reply was read to its end."""

    def abort(self) -> None:
        """End the connection now."""


class Http1Reply:
    """The reply to one request on one connection; implements `egress.exchange.Reply`."""

    __slots__ = (
        "_alarms",
        "_buffered",
        "_chunks",
        "_connection",
        "_error",
        "_host",
        "_is_paused",
        "_loop",
        "_timeout",
        "_waiter",
        "has_head",
        "headers",
        "is_complete",
        "status",
    )

    def __init__(self, connection: Carrier, host: str, loop: asyncio.AbstractEventLoop, alarms: Alarms) -> None:
        self._connection: Carrier | None = connection
        self._host = host
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._is_paused = False
        self._error: EgressError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarms = alarms
        self._timeout = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = False
        self.is_complete = False

    @property
    def is_until_eof(self) -> bool:
        """Whether the body ends with the connection (RFC 9112 §6.3): it says neither its length nor chunked."""
        names = {name for name, _ in self.headers}
        return self.has_head and self.status not in (204, 304) and not names & {b"content-length", b"transfer-encoding"}

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        wanted = name.encode("ascii")
        for key, value in self.headers:
            if key == wanted:
                return value.decode("latin-1").strip()
        return None

    async def wait_head(self, timeout: float) -> None:
        """Wait until status and headers are there.

        Raises:
            ReplyBroken, ReplyTimedOut, ReplyTooLarge: They never came.
        """
        while not self.has_head:
            if self._error is not None:
                raise self._error
            await self._wait(timeout, self._loop.time() + timeout)

    async def read_chunk(self, *, timeout: float) -> bytes | None:
        """See `egress.exchange.Reply`."""
        while not self._chunks:
            if self.is_complete:
                self._release()
                return None
            if self._error is not None:
                raise self._error
            await self._wait(timeout, self._loop.time() + timeout)
        if len(self._chunks) == 1:
            chunk = self._chunks.popleft()
        else:  # what came together goes on together
            chunk = b"".join(self._chunks)
            self._chunks.clear()
        self._buffered = 0
        if self._is_paused and self._connection is not None:
            self._is_paused = False
            self._connection.pause(False)
        return chunk

    async def read(self, *, limit: int, timeout: float) -> bytes:
        """See `egress.exchange.Reply`."""
        if self.is_complete and len(self._chunks) == 1 and self._buffered <= limit:  # the usual small reply
            body = self._chunks.popleft()
            self._buffered = 0
            self._release()
            return body
        parts: list[bytes] = []
        size = 0
        ends_at = self._loop.time() + timeout
        while True:
            while not self._chunks and not self.is_complete and self._error is None:
                await self._wait(timeout, ends_at)
            chunk = await self.read_chunk(timeout=timeout)  # which has nothing to wait for
            if chunk is None:
                break
            size += len(chunk)
            if size > limit:
                raise ReplyTooLarge(self._host, limit)
            parts.append(chunk)
        return b"".join(parts)

    async def close(self) -> None:
        """See `egress.exchange.Reply`."""
        self._alarms.call_off(self)
        if self._connection is None:
            return
        if self.is_complete:
            self._release()
        else:
            self._connection.abort()
            self._connection = None

    # --- called by the connection ---------------------------------------------------------------------------------
    def begin(self, status: int) -> None:
        """The head is complete."""
        self.status = status
        self.has_head = True
        self._wake()

    def append(self, data: bytes) -> None:
        """A piece of the body came."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > PAUSE_ABOVE and not self._is_paused and self._connection is not None:
            self._is_paused = True
            self._connection.pause(True)
        self._wake()

    def complete(self) -> None:
        """The body is complete."""
        self.is_complete = True
        self._wake()

    def fail(self, error: EgressError) -> None:
        """Nothing more will come."""
        if not self.is_complete and self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def ring(self) -> None:
        """What is waited for did not come in time."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(ReplyTimedOut(self._host, self._timeout))

    def _wait(self, timeout: float, ends_at: float) -> asyncio.Future[None]:
        """Done when anything comes; fails at `ends_at`, when `timeout` seconds have passed in all."""
        waiter = self._waiter = self._loop.create_future()
        self._timeout = timeout
        self._alarms.set(self, ends_at)
        return waiter

    def _release(self) -> None:
        self._alarms.call_off(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._is_paused:
                connection.pause(False)
            connection.finish(self)
