"""A transport that lets the head of a response wait for the first piece of its body, so that both are one packet.

The server writes them apart, and a second write is a tenth of what a tool call costs. Nothing is known of HTTP here
but how a head begins and ends.
"""

import asyncio
from typing import Any, Final, cast

JOINED_BYTES: Final = 64 * 1024  # a larger body is not copied to stand behind its head
_HEAD: Final = b"HTTP/1.1 "
_INTERIM: Final = b"HTTP/1.1 1"
_END: Final = b"\r\n\r\n"


class OneWrite:
    """Wraps a transport. A head waits until the next write, but no longer than until the loop's next turn."""

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    @classmethod
    def around(cls, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> asyncio.Transport:
        """The wrapped transport, as servers want to have it."""
        return cast(asyncio.Transport, cls(transport, loop))

    def write(self, data: bytes) -> None:
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
        """Write what waits and close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)
