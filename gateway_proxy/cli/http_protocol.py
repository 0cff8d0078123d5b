"""How a worker reads HTTP from a socket: uvicorn's protocol, with the bounds on heads that it leaves to a proxy.

Bodies are bounded further up, where it is known who sends them (edge and the surfaces).
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 32 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: 43\r\nconnection: close\r\n\r\n"
    b'{"error":"the request head is over 32 KiB"}'
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A request head is complete within ten seconds of its first byte and 32 KiB (security D4, D5).

    A connection that has not sent a first head gets the same ten seconds; between requests the keep-alive limit counts.
    The clock is only armed while a head is incomplete, which on the usual path is never.
    """

    head_seconds = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, and see how far the head has come."""
        self._head_bytes += len(data)
        super().data_received(data)
        if not self._is_in_head:
            self._head_bytes = 0
            self._disarm()
        elif self._head_bytes > HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._head_timer is None:
            self._arm()

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
