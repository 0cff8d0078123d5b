"""HTTP/1.1 replies over one connection, parsed by httptools: the one hand-written client.

It exists because this hop is on the path of every call: general clients cost 2 to 50 times as much there, and a closed
call must end its connection at once, which the cheapest of them does not do. It does one thing: a request with a known
body out, a reply in. No redirects, cookies, proxies, compression, pipelining or upgrades; those may not be added here.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import httptools

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.errors import EgressError, ReplyBroken, ReplyTooLarge
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.http1_reply import Http1Reply

MAX_HEAD: Final = 64 * 1024


class Http1Connection(asyncio.Protocol):
    """One connection. It carries one reply at a time, and is `free` again only when that reply was read to its end."""

    def __init__(
        self,
        host: str,
        authority: str,
        on_free: Callable[["Http1Connection"], None],
        on_lost: Callable[["Http1Connection"], None],
        alarms: Alarms,
    ) -> None:
        self._host = host
        self._authority = authority
        self._on_free = on_free
        self._on_lost = on_lost
        self._alarms = alarms
        self.loop = asyncio.get_running_loop()
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reply: Http1Reply | None = None
        self._is_reusable = True
        self._head_bytes = 0
        self._unproductive = 0
        self._is_productive = False
        self.idle_since = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether a request may be written: open, nothing under way, nothing unasked-for received."""
        return (
            self._is_reusable
            and self._reply is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def start(self, method: str, path: str, headers: RequestHeaders, body: bytes) -> Http1Reply:
        """Write one request and return its reply, whose head is still to come. The connection must be alive."""
        assert self._transport is not None
        reply = self._reply = Http1Reply(self, self._host, self.loop, self._alarms)
        self._head_bytes = 0
        self._unproductive = 0
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._authority}\r\ncontent-length: {len(body)}\r\n"
        self._transport.write(head.encode("ascii") + headers.wire + b"\r\n" + body)
        return reply

    def finish(self, reply: Http1Reply) -> None:
        """The reply was read to its end: keep the connection if both sides allow it."""
        if reply is not self._reply or self._transport is None:
            return
        self._reply = None
        if not self._is_reusable or self._transport.get_write_buffer_size():
            self.abort()
        elif not self._transport.is_closing():
            self._on_free(self)

    def abort(self) -> None:
        """End the connection now; what is buffered is dropped."""
        self._is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def pause(self, wanted: bool) -> None:
        """Stop or resume reading from the socket, so that a slow reader bounds our memory."""
        if self._transport is None or self._transport.is_closing():
            return
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._reply is None or self._parser is None:
            self.abort()  # bytes that nobody asked for would become part of the next reply
            return
        self._is_productive = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ReplyBroken(self._host, "not HTTP"))
            return
        if self._is_productive:
            self._unproductive = 0
            return
        self._unproductive += len(data)
        if self._unproductive > MAX_HEAD and self._reply is not None:
            self._fail(ReplyTooLarge(self._host, MAX_HEAD))

    def eof_received(self) -> bool:
        reply = self._reply
        if reply is not None and reply.is_until_eof:
            self._is_reusable = False
            reply.complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_reusable = False
        self._transport = None
        self._parser = None  # the parser holds our callbacks: end the cycle
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.fail(ReplyBroken(self._host, "the connection was closed"))
        self._on_lost(self)

    # --- httptools ------------------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        if self._reply is None or self._reply.is_complete:
            self._is_reusable = False  # a second reply to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        reply = self._reply
        if reply is None or reply.is_complete:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            raise ValueError("head too large")  # httptools turns it into its own error
        if not reply.has_head:
            reply.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reply, parser = self._reply, self._parser
        if reply is None or reply.is_complete or parser is None:
            return
        status: int = parser.get_status_code()
        if 100 <= status < 200:
            reply.headers.clear()
            return
        if not parser.should_keep_alive():
            self._is_reusable = False
        reply.begin(status)

    def on_body(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or reply.is_complete:
            self._is_reusable = False
            return
        self._is_productive = True
        reply.append(data)

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is not None and reply.has_head:
            reply.complete()

    def _fail(self, error: EgressError) -> None:
        reply = self._reply
        self.abort()
        if reply is not None:
            reply.fail(error)
