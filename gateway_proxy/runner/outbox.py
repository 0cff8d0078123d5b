"""A bounded queue of messages on their way to one reader, which must never hold up the child that writes them.

When it is full, what comes next is not taken; whoever put it decides whether the message or the reader is given up.
Single event loop, one consumer.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

QUEUE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """What was waiting. `last` means nothing follows; `dropped` that the reader was too slow and lost the rest."""

    messages: tuple[bytes, ...]
    last: bool = False
    dropped: bool = False


class Outbox:
    """Holds at most `limit` bytes, plus one final message, which always fits: it is bounded by the line cap."""

    __slots__ = ("_closed", "_dropped", "_limit", "_messages", "_size", "_waiter")

    def __init__(self, limit: int = QUEUE_BYTES) -> None:
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._limit = limit
        self._closed = False
        self._dropped = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """True once nothing more is accepted."""
        return self._closed

    def put(self, message: bytes) -> bool:
        """Queue one message. False when the reader is gone or too much is waiting for it already."""
        if self._closed or (self._messages and self._size + len(message) > self._limit):
            return False
        self._messages.append(message)
        self._size += len(message)
        self._wake()
        return True

    def finish(self, message: bytes | None = None) -> None:
        """Queue the final message, if any, and accept nothing after it."""
        if self._closed:
            return
        if message is not None:
            self._messages.append(message)
        self._closed = True
        self._wake()

    def drop(self) -> None:
        """Forget the reader and all that it has not read."""
        self._messages.clear()
        self._closed = self._dropped = True
        self._wake()

    async def take(self, timeout: float | None = None) -> Batch | None:
        """Wait for messages and take all of them; None when nothing came for `timeout` seconds."""
        if not self._messages and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                if timeout is None:
                    await self._waiter
                else:
                    async with asyncio.timeout(timeout):
                        await self._waiter
            except TimeoutError:
                return None
            finally:
                self._waiter = None
        batch = Batch(tuple(self._messages), last=self._closed, dropped=self._dropped)
        self._messages.clear()
        self._size = 0
        return batch

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
