"""How fast a backend may speak: one that says more than is reasonable is not read for a moment.

What a backend says while it is asked or listened to costs a worker CPU for each message and each byte, and all callers
of all tenants share that. Every few messages the event loop gets round to the others, and who goes on and on is held to
a rate; not reading holds up the backend, and nothing is lost. Not so behind the runner: it never holds a child up for
a reader, and leaves out what does not fit. It reads children at a pace of its own, so that only turns are given here.
"""

import asyncio
from typing import Final

_MESSAGE_BYTES: Final = 4096  # what the smallest message costs, in bytes that would cost as much
_TURN_BYTES: Final = 32 * _MESSAGE_BYTES  # a millisecond or two of work


class Pace:
    """The pace of one stream: `rate` bytes a second in the long run, of which `ahead` seconds' worth may come at once.

    A short message counts as 4 KiB: 1 MiB per second are 256 messages. Without a `rate` only turns are given.
    """

    __slots__ = ("_ahead", "_booked_until", "_rate", "_weight")

    def __init__(self, *, rate: int | None, ahead: float) -> None:
        self._rate = rate
        self._ahead = ahead
        self._weight = 0
        self._booked_until = 0.0

    def count(self, size: int) -> bool:
        """A message of `size` bytes was dealt with; whether it is time to `rest`."""
        self._weight += _MESSAGE_BYTES + size
        return self._weight >= _TURN_BYTES

    async def rest(self) -> None:
        """Let others have their turn, and wait for as long as the stream is too fast."""
        if self._rate is None:
            self._weight = 0
            await asyncio.sleep(0)
            return
        now = asyncio.get_running_loop().time()
        self._booked_until = max(self._booked_until, now) + self._weight / self._rate
        self._weight = 0
        await asyncio.sleep(max(0.0, self._booked_until - self._ahead - now))
