"""Lists of backends that outlive a worker: after a restart they are served at once, and renewed behind that.

Only what was good goes in, and only to spare callers an empty list: whatever is remembered is due to be fetched anew.
A definition that was edited is another one (its revision), and a memory that fails is no memory.
"""

import asyncio
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.router.listing import MAX_LIST, Item, ListKind, Snapshot
from gateway_proxy.storage.redis.keys import backend_list_key

REMEMBERED_SECONDS: Final = 24 * 3600
PATIENCE_SECONDS: Final = 1.0  # somebody waits for the list; without a memory it is fetched
MAX_STORED: Final = 512 * 1024
_VERSION: Final = b"\x01"

Place = tuple[Backend, ListKind]


class Remembered(NamedTuple):
    """A snapshot and when it was fetched."""

    snapshot: Snapshot
    listed_at: datetime


class ListMemory(Protocol):
    """Where snapshots are remembered."""

    async def recall(self, places: Iterable[Place]) -> dict[tuple[str, ListKind], Remembered]:
        """What is remembered of these, by backend id and kind; nothing when it cannot be told at the moment."""

    async def keep(self, backend: Backend, snapshot: Snapshot) -> None:
        """Remember what was just fetched, as far as that is possible."""


class NoListMemory:
    """For a gateway without Redis: a restart begins with nothing."""

    async def recall(self, places: Iterable[Place]) -> dict[tuple[str, ListKind], Remembered]:
        """See `ListMemory`."""
        return {}

    async def keep(self, backend: Backend, snapshot: Snapshot) -> None:
        """See `ListMemory`."""


class RedisListMemory:
    """One key per backend, revision and kind: a version byte, then compressed MessagePack."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def recall(self, places: Iterable[Place]) -> dict[tuple[str, ListKind], Remembered]:
        """See `ListMemory`."""
        asked = list(places)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                values = await self._redis.mget([_key(backend, kind) for backend, kind in asked]) if asked else []
        except (RedisError, OSError, TimeoutError):
            return {}
        found = {}
        for (backend, kind), value in zip(asked, values, strict=True):
            remembered = _decode(value, kind)
            if remembered is not None:
                found[backend.id, kind] = remembered
        return found

    async def keep(self, backend: Backend, snapshot: Snapshot) -> None:
        """See `ListMemory`."""
        value = _encode(snapshot, self._clock.now())
        if len(value) > MAX_STORED:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._redis.set(_key(backend, snapshot.kind), value, ex=REMEMBERED_SECONDS)
        except (RedisError, OSError, TimeoutError):
            return  # the next list is kept again


class _Stored(msgspec.Struct, array_like=True):
    items: list[tuple[str, bytes]]
    notes: tuple[str, ...]
    ttl_ms: int | None
    listed_at: float


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Stored)


def _key(backend: Backend, kind: ListKind) -> str:
    return backend_list_key(backend.tenant_id, backend.id, backend.revision, kind.member)


def _encode(snapshot: Snapshot, now: datetime) -> bytes:
    items = [(item.name, item.tail) for item in snapshot.items]
    stored = _Stored(items, snapshot.notes, snapshot.ttl_ms, now.timestamp())
    return _VERSION + zlib.compress(_encoder.encode(stored), level=1)


def _decode(value: object, kind: ListKind) -> Remembered | None:
    """None for nothing, another version, or what cannot be read: it is fetched then."""
    if not isinstance(value, bytes) or value[:1] != _VERSION:
        return None
    try:
        stored = _decoder.decode(zlib.decompressobj().decompress(value[1:], 4 * MAX_LIST))
    except (zlib.error, msgspec.MsgspecError):
        return None
    items = tuple(Item(name, tail) for name, tail in stored.items)
    snapshot = Snapshot(kind, items, stored.notes, stored.ttl_ms)
    return Remembered(snapshot, datetime.fromtimestamp(stored.listed_at, UTC))
