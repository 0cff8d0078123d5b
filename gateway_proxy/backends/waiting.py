"""Announcements on their way to a reader who may be slow: bounded, so that an endless backend costs no memory."""

import asyncio
from typing import Final

from gateway_proxy.backends.messages import Announcement

WAITING_LIMIT: Final = 1000
WAITING_BYTES: Final = 4 * 1024 * 1024


class Waiting:
    """A queue for one reader. Who does not keep up is told that it is over, rather than lose some."""

    __slots__ = ("_bytes", "_queue")

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Announcement | None] = asyncio.Queue()
        self._bytes = 0

    def put(self, announcement: Announcement) -> None:
        """Add one, unless too many or too much waits already; then the reader has lost."""
        self._bytes += len(announcement.params)
        is_too_much = self._bytes > WAITING_BYTES and not self._queue.empty()
        if is_too_much or self._queue.qsize() >= WAITING_LIMIT:
            self.end()
        else:
            self._queue.put_nowait(announcement)

    def end(self) -> None:
        """Nothing more will come."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._bytes = 0
        self._queue.put_nowait(None)

    async def take(self) -> Announcement | None:
        """The next one; None at the end."""
        announcement = await self._queue.get()
        if announcement is not None:
            self._bytes -= len(announcement.params)
        return announcement
