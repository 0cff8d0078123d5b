"""The event log: messages for a client that may read them later and from any worker (MCP 2025-11-25, Resumability).

A session has one log for messages that belong to no call, and one for each call whose stream its client let go. One
protocol, two implementations (Redis streams, in-process), one suite for both. What the messages say is not known here.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

KEEP_SECONDS: Final = 300.0
"""How long a log is kept after the last message or reader."""

MAX_MESSAGES: Final = 1000
LOG_BYTES: Final = 16 * 1024 * 1024
"""Older messages of a log make room; a client that has missed as many starts anew."""

FIRST: Final = "0-0"
GONE: Final = 2**53
"""The number of an entry that says that nothing more will come."""


@dataclass(frozen=True, slots=True)
class LogName:
    """Whose log: `call` is empty for the messages of the session itself. Its owner was verified by the session."""

    tenant_id: str
    session_id: str
    call: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One message at its position (`<n>-<n>`, growing). An empty message only marks the position."""

    position: str
    message: bytes
    is_last: bool


class EventLog(Protocol):
    """Logs by name. Every method but `watching` raises StorageUnavailable while the log cannot be reached."""

    async def open(self, name: LogName) -> str:
        """Keep this session's messages for the next `KEEP_SECONDS`; the newest position."""

    async def tell(self, name: LogName, message: bytes) -> None:
        """Add a message to a session's log; nothing happens when nobody has opened it."""

    async def record(self, name: LogName, number: int, message: bytes, *, is_last: bool) -> None:
        """Add message `number` of a call, at the position `<number>-0`; one that is there already is left alone."""

    async def read(self, name: LogName, *, after: str) -> list[LogEntry]:
        """The entries after a position, oldest first, at most a hundred or so at once."""

    def watching(self, name: LogName) -> AbstractContextManager[asyncio.Event]:
        """A context in which an event is set whenever the log may have grown, whichever worker added to it.

        News can be lost, so read again every few seconds all the same.
        """


class Watchers:
    """Who waits for which log, in this worker."""

    def __init__(self) -> None:
        self._by_name: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watching(self, name: str) -> Iterator[asyncio.Event]:
        """An event that `wake` sets."""
        changed = asyncio.Event()
        waiting = self._by_name.setdefault(name, set())
        waiting.add(changed)
        try:
            yield changed
        finally:
            waiting.discard(changed)
            if not waiting and self._by_name.get(name) is waiting:
                del self._by_name[name]

    def wake(self, name: str) -> None:
        """The log has grown."""
        for changed in self._by_name.get(name, ()):
            changed.set()

    def wake_all(self) -> None:
        """Nobody knows what was missed."""
        for name in self._by_name:
            self.wake(name)


def position_of(number: int) -> str:
    """The position of a call's message."""
    return f"{number}-0"


def sort_key(position: str) -> tuple[int, int]:
    """Positions in their order.

    Raises:
        ValueError: It is not a position.
    """
    head, _, tail = position.partition("-")
    if not (head.isascii() and tail.isascii() and head.isdigit() and tail.isdigit() and len(position) <= 40):
        raise ValueError("not a position")
    return int(head), int(tail)
