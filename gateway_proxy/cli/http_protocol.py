"""How a worker reads HTTP from a socket: uvicorn's protocol, with the bounds on heads that it leaves to a proxy.

Bodies are bounded further up, where it is known who sends them (edge and the surfaces). Trailers end here: what comes
behind the body was seen by no check, so it may not become a header (RFC 9110 §6.5.1).
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway_proxy.cli.alarmed_loop import AlarmedLoop
from gateway_proxy.cli.one_write import OneWrite
from gateway_proxy.cli.unread import Unread
from gateway_proxy.cli.whole_answer import AnsweringCycle
from gateway_proxy.domain.whole_answer import EXTENSION

HEAD_BYTES: Final = 32 * 1024
_CLOSE: Final = (b"connection", b"close")
_EXTENSIONS: Final[dict[str, dict[object, object]]] = {EXTENSION: {}}
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: 43\r\nconnection: close\r\n\r\n"
    b'{"error":"the request head is over 32 KiB"}'
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A request head is complete within ten seconds of its first byte and 32 KiB (security D4, D5).

    A connection that has not sent a first head gets the same ten seconds; between requests the keep-alive limit counts.
    The clock is only armed while a head is incomplete, which on the usual path is never. Behind the head, 32 KiB that
    do not become part of a body (trailers, chunk extensions) end the connection.

    So does a client that reads nothing for 30 seconds while something waits for it, be the answer complete or not (D3).
    """

    head_seconds = 10.0
    unread_seconds = 30.0
    leaving_seconds = 1.0
    leaving_unread_seconds = 5.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop = AlarmedLoop.around(self.loop, self.server_state)
        self._is_in_head = False
        self._is_in_message = False
        self._is_productive = False
        self._head_bytes = 0  # received since the last that was no head and no trailer
        self._chunk_bytes = 0
        self._most_bytes = 0  # an upper bound of this head: everything received since the last began to be read
        self._is_oversized = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        self._unread = Unread(transport, self.loop, self.unread_seconds)
        super().connection_made(OneWrite(transport, self.loop, self._unread))
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._disarm()
        super().connection_lost(exc)
        self._unread.forget()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        self._unread.watch()

    def resume_writing(self) -> None:
        """It has read. When the connection is closing, what is left is still to be read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread.forget()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = self._is_in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete. Fields that come later are a trailer's: they get a list that nobody reads."""
        if self._most_bytes > HEAD_BYTES:
            self._check_head()
        self._is_in_head = False
        self._head_bytes = 0
        self._most_bytes = self._chunk_bytes
        if self._is_leaving:
            self.headers.append(_CLOSE)  # as if the client had asked for it: then uvicorn says so in the answer
        self.scope["extensions"] = _EXTENSIONS
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.__class__ = AnsweringCycle
        if self._is_leaving:
            self.cycle.keep_alive = False
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._is_productive = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A message is complete, trailers included."""
        self._is_in_message = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, and see how far the head or the trailer has come."""
        self._chunk_bytes = len(data)
        self._head_bytes += self._chunk_bytes
        self._most_bytes += self._chunk_bytes
        self._is_productive = False
        super().data_received(data)
        if not self._is_in_head:
            self._disarm()
            if self._is_productive or not self._is_in_message:
                self._head_bytes = 0
            elif self._head_bytes > HEAD_BYTES:
                self.transport.abort()
        elif self._head_bytes > HEAD_BYTES:
            self._refuse_head()
        elif self._head_timer is None:
            self._arm()

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is passed over in silence (RFC 9110 §7.8). uvicorn would write two lines for each, with advice to
        install what no surface speaks; anybody could fill the log with them.
        """

    def shutdown(self) -> None:
        """The worker stops. What is being answered is answered to its end, and then the connection closes.

        Who has just connected, or is just sending on a connection that was kept, is still served: uvicorn would hang up
        on them without a word, and a proxy may not send a POST a second time. Nobody is waited for who does not read.
        """
        self._is_leaving = True
        self._unread.hurry(self.leaving_unread_seconds)
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
            return
        self._disarm()
        self._head_timer = self.loop.call_later(self.leaving_seconds, self._give_up)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is answered with 400, a head that is too large with 431."""
        if self._is_oversized:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _check_head(self) -> None:
        """A head that comes in one piece is bounded too, behind another request or not; httptools ends the parsing."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES:
            self._is_oversized = True
            raise ValueError("head too large")

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # a slow head behind a request that is still being answered must not cut the answer off
        else:
            self.transport.close()
