"""A client that does not read what was written to it is hung up on; else it would hold its connection for ever.

Closing is not enough, because a transport closes when all that it holds is written, and once an answer is complete
nobody waits for that. What is not read yet tells who reads: while the server waits, it can only become less.
"""

import asyncio
import contextlib
import fcntl
import sys
import termios


class Unread:
    """What one connection's client has not read yet, looked at only while the server waits for it."""

    __slots__ = ("_alarm", "_left", "_loop", "_seconds", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """A client has `seconds` to read anything at all."""
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._left = 0
        self._alarm: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look from now on, until nothing waits any more or the client has read nothing for too long."""
        if self._alarm is None and self._transport.get_write_buffer_size():
            self._set_alarm()

    def hurry(self, seconds: float) -> None:
        """There is less time from now on."""
        self._seconds = seconds
        if self._alarm is not None:
            self._alarm.cancel()
            self._set_alarm()

    def forget(self) -> None:
        """Nobody waits."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set_alarm(self) -> None:
        self._left = self._count()
        self._alarm = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._alarm = None
        if not self._transport.get_write_buffer_size():
            return
        if self._count() < self._left:
            self._set_alarm()
        else:
            self._transport.abort()

    def _count(self) -> int:
        """Bytes, those that the kernel holds included: it asks for more of them megabytes at a time."""
        in_kernel = b""
        with contextlib.suppress(OSError):  # not every system tells
            socket = self._transport.get_extra_info("socket")
            in_kernel = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return self._transport.get_write_buffer_size() + int.from_bytes(in_kernel, sys.byteorder)
