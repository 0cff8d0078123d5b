"""A transport that lets the head of a response wait for the first piece of its body, so that both are one packet.

The server writes them apart, and a second write is a tenth of what a tool call costs. Nothing is known of HTTP here
but how a head begins and ends.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from gateway_proxy.cli.unread import Unread

JOINED_BYTES: Final = 64 * 1024  # a larger body is not copied to stand behind its head
_HEAD: Final = b"HTTP/1.1 "
_INTERIM: Final = b"HTTP/1.1 1"
_END: Final = b"\r\n\r\n"


class OneWrite(asyncio.Transport):
    """Wraps a transport. A head waits until the next write, but no longer than until the loop's next turn.

    Every method that a protocol may use is written out: with `__getattr__` each look-up here, `self` included, would
    cost a tenth of a microsecond more, a dozen times per answer.
    """

    __slots__ = ("_head", "_loop", "_transport", "_unread")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, unread: Unread) -> None:
        self._transport = transport
        self._loop = loop
        self._unread = unread
        self._head = b""

    def write(self, data: bytes) -> None:  # type: ignore[override] # servers write bytes; to ask each time costs calls
        """Write, or keep a head for a moment."""
        head = self._head
        if head:
            self._head = b""
            if len(data) <= JOINED_BYTES:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))
        elif data.startswith(_HEAD) and data.endswith(_END) and not data.startswith(_INTERIM):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write a head that waits."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Write what waits and close, as soon as the client has read it."""
        self.flush()
        self._transport.close()
        self._unread.watch()

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of it, behind a head that waits."""
        self.flush()
        self._transport.writelines(list_of_data)

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._head = b""
        self._transport.abort()

    # --- the transport's own ------------------------------------------------------------------------------------------
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What it knows of the socket."""
        return self._transport.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who reads."""
        return self._transport.get_protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who reads from now on."""
        self._transport.set_protocol(protocol)

    def is_reading(self) -> bool:
        """Whether it reads from the socket."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Read no more for a while."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken yet, without a head that waits."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Between which sizes writing is paused."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set them."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Whether its half can be closed."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Close this half, behind what waits."""
        self.flush()
        self._transport.write_eof()
