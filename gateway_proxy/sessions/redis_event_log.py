"""The event log that all workers share: one capped Redis stream per log, with a time to live.

Redis counts entries only, so the bytes of a session's log are counted beside it, in the script that adds to it: a large
message takes the place of as many bytes of the oldest, not of all that is small.

Appends are announced over pub/sub, so that the worker with the client's stream reads at once; a lost announcement costs
the few seconds until it looks by itself.
"""

import asyncio
import contextlib
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway_proxy.sessions.event_log import (
    FIRST,
    KEEP_SECONDS,
    LOG_BYTES,
    MAX_MESSAGES,
    LogEntry,
    LogName,
    Watchers,
    position_of,
)
from gateway_proxy.sessions.reachable import reachable
from gateway_proxy.storage.redis.keys import event_log_key, event_log_size_key, event_news_channel
from gateway_proxy.storage.redis.news import News

MESSAGE: Final = b"1"
LAST: Final = b"2"
MARK: Final = b"0"
"""Field names are the version of an entry, too: what another version wrote is passed over."""

READ_AT_ONCE: Final = 100
_KEEP_MS: Final = round(KEEP_SECONDS * 1000)

# KEYS: a log, its bytes. ARGV: field, message, most entries, most bytes, how long to keep (ms). Answer: is there a log.
_TELL: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2])
local count, size = redis.call('XLEN', KEYS[1]), redis.call('INCRBY', KEYS[2], #ARGV[2])
while count > tonumber(ARGV[3]) or (size > tonumber(ARGV[4]) and count > 1) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  count, size = count - 1, redis.call('DECRBY', KEYS[2], #oldest[2][2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""


class RedisEventLog:
    """Use as a context. Commands are those of Redis 6.2."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._tell = redis.register_script(_TELL)
        self._watchers = Watchers()
        self._channel = event_news_channel()
        self._news = News(redis, self._channel, heard=self._watchers.wake, reset=self._watchers.wake_all)

    async def __aenter__(self) -> Self:
        await self._news.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._news.stop()

    async def open(self, name: LogName) -> str:
        key, size_key = _key_of(name), _size_key_of(name)
        async with reachable():
            batch = self._redis.pipeline(transaction=True)
            batch.pexpire(key, _KEEP_MS)
            batch.pexpire(size_key, _KEEP_MS)
            if (await batch.execute())[0]:
                newest: Any = await self._redis.xrevrange(key, count=1)
                return newest[0][0].decode() if newest else FIRST
            batch = self._redis.pipeline(transaction=True)
            batch.xadd(key, {MARK: b""}, maxlen=MAX_MESSAGES, approximate=True)
            batch.pexpire(key, _KEEP_MS)
            batch.set(size_key, 0, px=_KEEP_MS)
            return str((await batch.execute())[0].decode())

    async def tell(self, name: LogName, message: bytes) -> None:
        key = _key_of(name)
        async with reachable():
            limits = (MAX_MESSAGES, LOG_BYTES, _KEEP_MS)
            if await self._tell([key, _size_key_of(name)], [MESSAGE, message, *limits]):
                await self._redis.publish(self._channel, self._news.encode(key))
        self._watchers.wake(key)

    async def record(self, name: LogName, number: int, message: bytes, *, is_last: bool) -> None:
        key = _key_of(name)
        async with reachable():
            with contextlib.suppress(ResponseError):  # the position is taken: it was written, and the answer lost
                await self._redis.xadd(
                    key,
                    {LAST if is_last else MESSAGE: message},
                    id=position_of(number),
                    maxlen=MAX_MESSAGES,
                    approximate=True,
                )
            batch = self._redis.pipeline(transaction=False)
            batch.pexpire(key, _KEEP_MS)
            batch.publish(self._channel, self._news.encode(key))
            await batch.execute()
        self._watchers.wake(key)

    async def read(self, name: LogName, *, after: str) -> list[LogEntry]:
        async with reachable():
            entries: Any = await self._redis.xrange(_key_of(name), min="(" + after, count=READ_AT_ONCE)
        return [_entry_of(position.decode(), fields) for position, fields in entries]

    def watching(self, name: LogName) -> AbstractContextManager[asyncio.Event]:
        return self._watchers.watching(_key_of(name))


def _entry_of(position: str, fields: dict[bytes, bytes]) -> LogEntry:
    if LAST in fields:
        return LogEntry(position, fields[LAST], True)
    return LogEntry(position, fields.get(MESSAGE, b""), False)


def _key_of(name: LogName) -> str:
    return event_log_key(name.tenant_id, name.session_id, name.call)


def _size_key_of(name: LogName) -> str:
    return event_log_size_key(name.tenant_id, name.session_id, name.call)
