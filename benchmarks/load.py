"""The load generator: raw keep-alive connections over httptools, so that it costs less than what it measures.

It checks every answer: status 200 and the very text that the connection asked to be echoed. Which requests make sense
is not known here.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import httptools

GRACE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it goes over the wire, and what its answer must hold."""

    request: bytes
    expected: bytes


@dataclass(slots=True)
class Tally:
    """What one run saw. Latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    elapsed: float = 0.0

    def fail(self, reason: str) -> None:
        """Count an error."""
        self.errors += 1
        self.first_error = self.first_error or reason


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection: single questions by `ask`, then a stretch of load by `hammer`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[Answer] | None = None
        self._done: asyncio.Future[None] | None = None
        self._asked = Asked(b"", b"")
        self._tally = Tally()
        self._ends_at = 0.0
        self._sent_at = 0.0
        self.ended: Answer | None = None
        """The last answer that came to its end outside of `hammer`."""

    async def ask(self, request: bytes) -> Answer:
        """Send one request; its answer."""
        assert self._transport is not None
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        async with asyncio.timeout(GRACE_SECONDS):
            return await self._waiter

    async def hammer(self, asked: Asked, tally: Tally, ends_at: float) -> None:
        """Send the request over and over until the time (of time.perf_counter) has come; the last answer is awaited."""
        self._asked, self._tally, self._ends_at = asked, tally, ends_at
        self._done = self._loop.create_future()
        self._send()
        try:
            async with asyncio.timeout(ends_at - time.perf_counter() + GRACE_SECONDS):
                await self._done
        except TimeoutError:
            tally.fail("no answer in time")
        finally:
            self._done = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def hold(self, request: bytes) -> None:
        """Send a request whose answer never ends."""
        assert self._transport is not None
        self._transport.write(request)

    @property
    def heard(self) -> bytes:
        """What has come so far of the answer that never ends."""
        return b"".join(self._pieces)

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(self._asked.request)

    # --- called by the transport and the parser -------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._tally.fail(f"connection lost: {exc}")
            self._done.set_result(None)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("connection lost"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._done is None:
            self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        if self._done is None:
            headers, self._headers = self._headers, {}
            self.ended = Answer(self._parser.get_status_code(), headers, body)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(self.ended)
            return
        now = time.perf_counter()
        self._tally.latencies.append(now - self._sent_at)
        if self._asked.expected not in body or self._parser.get_status_code() != 200:
            self._tally.fail(f"{self._parser.get_status_code()} {body[:200]!r}")
        if now < self._ends_at:
            self._send()
        elif not self._done.done():
            self._done.set_result(None)


async def connect(host: str, port: int) -> Connection:
    """Open a connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


async def hammer(connections: Sequence[Connection], asked: Sequence[Asked], seconds: float) -> Tally:
    """Load all connections at once for some seconds."""
    tally = Tally()
    started = time.perf_counter()
    await asyncio.gather(
        *(each.hammer(what, tally, started + seconds) for each, what in zip(connections, asked, strict=True))
    )
    tally.elapsed = time.perf_counter() - started
    return tally
