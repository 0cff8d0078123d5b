"""Letters between the workers of all processes: one Redis stream per worker, read by its owner alone.

A stream and not pub/sub, because a letter may be the answer that a call waits for: it must outlast a dropped
connection. Letters live a minute; a worker that has not shown itself for `PRESENCE_SECONDS` gets none.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway_proxy.domain.clock import Clock
from gateway_proxy.sessions.mailbox import Letter, Pigeonholes, Take, new_worker_id, stamped
from gateway_proxy.sessions.reachable import reachable
from gateway_proxy.storage.redis.client import ANSWER_SECONDS
from gateway_proxy.storage.redis.keys import inbox_key, workers_key
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

VERSION: Final = b"\x01"
PRESENCE_SECONDS: Final = 15.0
SHOW_EVERY: Final = 5.0
LETTER_MS: Final = 60_000
WORKERS_MS: Final = 3_600_000
READ_MS: Final = 2_000
MAX_WAITING: Final = 256
MAX_BACK_OFF: Final = 2.0

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Letter)


class RedisMailbox:
    """Use as a context. Commands are those of Redis 6.2; every key has a time to live."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self.worker_id = new_worker_id()
        self._redis = redis
        self._clock = clock
        self._holes = Pigeonholes()
        self._inbox = inbox_key(self.worker_id)
        self._task: asyncio.Task[None] | None = None
        self._shown_at = float("-inf")
        self._is_shown = asyncio.Event()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read(), name="mailbox")
        with contextlib.suppress(TimeoutError):  # without Redis a worker starts all the same
            async with asyncio.timeout(1.0):
                await self._is_shown.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                batch = self._redis.pipeline(transaction=False)
                batch.zrem(workers_key(), self.worker_id)
                batch.delete(self._inbox)
                await batch.execute()

    def on(self, kind: str, take: Take) -> None:
        self._holes.on(kind, take)

    async def send(self, worker_id: str, letter: Letter) -> bool:
        letter = stamped(letter, self.worker_id)
        if worker_id == self.worker_id:
            await self._holes.deliver(letter)
            return True
        async with reachable():
            until = await self._redis.zscore(workers_key(), worker_id)
            if until is None or until < self._clock.now().timestamp():
                return False
            await self._post([worker_id], letter)
        return True

    async def broadcast(self, letter: Letter) -> None:
        letter = stamped(letter, self.worker_id)
        async with reachable():
            present: list[Any] = await self._redis.zrangebyscore(
                workers_key(), self._clock.now().timestamp(), float("inf")
            )
            names = [name.decode() if isinstance(name, bytes) else str(name) for name in present]
            await self._post([name for name in names if name != self.worker_id], letter)

    async def _post(self, worker_ids: list[str], letter: Letter) -> None:
        if not worker_ids:
            return
        written = VERSION + _encoder.encode(letter)
        batch = self._redis.pipeline(transaction=False)
        for worker_id in worker_ids:
            batch.xadd(inbox_key(worker_id), {b"l": written}, maxlen=MAX_WAITING, approximate=False)
            batch.pexpire(inbox_key(worker_id), LETTER_MS)
        await batch.execute()

    async def _read(self) -> None:
        back_off, last = 0.1, b"0-0"
        while not self._is_closing:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._show()
                last = await self._read_some(last)
                back_off = 0.1
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("mailbox_lost", fault=type(error).__name__)
                self._shown_at = float("-inf")
                await asyncio.sleep(back_off)
                back_off = min(back_off * 2, MAX_BACK_OFF)

    async def _show(self) -> None:
        """Say that this worker is there, and forget those that have not for long."""
        if self._clock.monotonic() - self._shown_at < SHOW_EVERY:
            return
        now = self._clock.now().timestamp()
        batch = self._redis.pipeline(transaction=False)
        batch.zadd(workers_key(), {self.worker_id: now + PRESENCE_SECONDS})
        batch.zremrangebyscore(workers_key(), "-inf", now - PRESENCE_SECONDS)
        batch.pexpire(workers_key(), WORKERS_MS)
        await batch.execute()
        self._shown_at = self._clock.monotonic()
        self._is_shown.set()

    async def _read_some(self, last: bytes) -> bytes:
        """Wait for letters, hand them out, take them from the stream; returns the id of the last one read."""
        async with asyncio.timeout(READ_MS / 1000 + ANSWER_SECONDS):
            answer: Any = await self._redis.xread({self._inbox: last}, count=32, block=READ_MS)
        for _, entries in answer.items() if isinstance(answer, dict) else answer or ():
            for entry_id, fields in _flat(entries):
                last = entry_id
                value = fields.get(b"l", b"")
                if value[:1] == VERSION:
                    try:
                        letter = _decoder.decode(value[1:])
                    except msgspec.MsgspecError:
                        log.warning("letter_unreadable")
                        continue
                    await self._holes.deliver(letter)
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._redis.xtrim(self._inbox, minid=_after(last), approximate=False)
        return last


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream, whichever protocol version Redis answers in."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = []
    for entry in entries:
        found.extend(_flat(entry) if isinstance(entry, list) and entry and isinstance(entry[0], tuple) else [entry])
    return found


def _after(entry_id: bytes) -> bytes:
    time, _, number = entry_id.partition(b"-")
    return b"%b-%d" % (time, int(number) + 1)
