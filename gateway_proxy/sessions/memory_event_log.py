"""The event log of one process: for the embedded default. Nothing here reaches another process."""

import asyncio
from collections import OrderedDict, deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.sessions.event_log import (
    FIRST,
    KEEP_SECONDS,
    LOG_BYTES,
    MAX_MESSAGES,
    LogEntry,
    LogName,
    Watchers,
    position_of,
    sort_key,
)

MAX_LOGS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class _Log:
    until: float
    entries: deque[LogEntry] = field(default_factory=deque)
    newest: str = FIRST
    size: int = 0


class MemoryEventLog:
    """Logs by last use; bounded as a whole in number and in bytes, the longest unused makes room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logs: OrderedDict[LogName, _Log] = OrderedDict()
        self._size = 0
        self._watchers = Watchers()

    async def open(self, name: LogName) -> str:
        return self._touch(name).newest

    async def tell(self, name: LogName, message: bytes) -> None:
        log = self._living(name)
        if log is not None:
            self._touch(name)
            self._add(name, log, LogEntry(position_of(sort_key(log.newest)[0] + 1), message, False))

    async def record(self, name: LogName, number: int, message: bytes, *, is_last: bool) -> None:
        log = self._touch(name)
        if number > sort_key(log.newest)[0]:
            self._add(name, log, LogEntry(position_of(number), message, is_last))

    async def read(self, name: LogName, *, after: str) -> list[LogEntry]:
        log = self._living(name)
        if log is None:
            return []
        start = sort_key(after)
        return [entry for entry in log.entries if sort_key(entry.position) > start]

    def watching(self, name: LogName) -> AbstractContextManager[asyncio.Event]:
        return self._watchers.watching(_key_of(name))

    def _living(self, name: LogName) -> _Log | None:
        log = self._logs.get(name)
        if log is not None and log.until <= self._clock.monotonic():
            self._forget(name)
            return None
        return log

    def _touch(self, name: LogName) -> _Log:
        log = self._living(name)
        if log is None:
            log = self._logs[name] = _Log(0.0)
        log.until = self._clock.monotonic() + KEEP_SECONDS
        self._logs.move_to_end(name)
        while len(self._logs) > MAX_LOGS:
            self._forget(next(iter(self._logs)))
        return log

    def _add(self, name: LogName, log: _Log, entry: LogEntry) -> None:
        log.entries.append(entry)
        log.newest = entry.position
        self._grow(log, len(entry.message))
        while len(log.entries) > MAX_MESSAGES or (log.size > LOG_BYTES and len(log.entries) > 1):
            self._grow(log, -len(log.entries.popleft().message))
        while self._size > MAX_BYTES and len(self._logs) > 1:
            self._forget(next(iter(self._logs)))
        self._watchers.wake(_key_of(name))

    def _grow(self, log: _Log, size: int) -> None:
        log.size += size
        self._size += size

    def _forget(self, name: LogName) -> None:
        self._size -= self._logs.pop(name).size


def _key_of(name: LogName) -> str:
    return f"{name.tenant_id} {name.session_id} {name.call}"
