"""One queue per key for work that is slow on purpose: who sends a flood waits behind it, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway_proxy.domain.errors import RateLimited

RETRY_SECONDS: Final = 2.0


class _Queue:
    def __init__(self, at_once: int) -> None:
        self.places = asyncio.Semaphore(at_once)
        self.length = 0


class Queues:
    """At most `at_once` of one key have their turn at a time, and at most `length` are there in all. Per process."""

    def __init__(self, at_once: int, length: int) -> None:
        self._at_once = at_once
        self._length = length
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the context lasts.

        Raises:
            RateLimited: The queue of this key is full.
        """
        queue = self._queues.setdefault(key, _Queue(self._at_once))
        if queue.length >= self._length:
            raise RateLimited(RETRY_SECONDS)
        queue.length += 1
        try:
            async with queue.places:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[key]

    def __len__(self) -> int:
        return len(self._queues)
