"""What our tools said in a request that ended with a call of the client's own tool, until the client answers.

The client knows only its own calls; when it comes back with their results, everything that it does not know is put in
again. Kept under the ids of the calls that the client got, and bound to tenant and user: an id alone opens nothing.
"""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.storage.redis.client import ANSWER_SECONDS
from gateway_proxy.storage.redis.keys import kept_turn_key
from gateway_proxy.telemetry.logs import get_log
from openai_routes.turn import Message

KEPT_SECONDS: Final = 3600
RECORD_LIMIT: Final = 8 * 1024 * 1024
MEMORY_LIMIT: Final = 64 * 1024 * 1024

log = get_log(__name__)


class KeptTurn(msgspec.Struct, frozen=True):
    """The messages between the client's question and its own results. `provider` made the native forms in them."""

    provider: str
    messages: tuple[Message, ...]
    version: int = 1


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(KeptTurn)


class KeptTurns(Protocol):
    """Where turns are kept for an hour."""

    async def keep(self, ctx: TenantContext, call_ids: Sequence[str], turn: KeptTurn) -> None:
        """Keep `turn` under every one of `call_ids`. Never raises: without it the answer is poorer, not wrong."""

    async def find(self, ctx: TenantContext, call_ids: Sequence[str]) -> dict[str, KeptTurn]:
        """The turns of this tenant and user under `call_ids`; those that are gone are left out."""


def encode_turn(turn: KeptTurn) -> bytes | None:
    """The record, compressed; None when it is too large to be kept."""
    encoded = zlib.compress(_encoder.encode(turn), 1)
    return encoded if len(encoded) <= RECORD_LIMIT else None


def decode_turn(record: bytes) -> KeptTurn | None:
    """The turn in a record, None when it was written by another version or is damaged."""
    try:
        turn = _decoder.decode(zlib.decompress(record))
    except (zlib.error, msgspec.DecodeError):
        return None
    return turn if turn.version == 1 else None


class MemoryTurns:
    """Turns of one process, at most 64 MiB of them; the oldest go first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, bytes]] = OrderedDict()
        self._size = 0

    async def keep(self, ctx: TenantContext, call_ids: Sequence[str], turn: KeptTurn) -> None:
        """See `KeptTurns`."""
        record = encode_turn(turn)
        if record is None:
            log.warning("chat_turn_not_kept", reason="too large")
            return
        for call_id in call_ids:
            key = (ctx.tenant.id, ctx.principal.user_id, call_id)
            self._drop(key)
            self._kept[key] = (self._clock.monotonic() + KEPT_SECONDS, record)
            self._size += len(record)
        while self._size > MEMORY_LIMIT or (self._kept and self._is_stale(next(iter(self._kept)))):
            self._drop(next(iter(self._kept)))

    async def find(self, ctx: TenantContext, call_ids: Sequence[str]) -> dict[str, KeptTurn]:
        """See `KeptTurns`."""
        found: dict[str, KeptTurn] = {}
        for call_id in call_ids:
            key = (ctx.tenant.id, ctx.principal.user_id, call_id)
            if key in self._kept and not self._is_stale(key):
                turn = decode_turn(self._kept[key][1])
                if turn is not None:
                    found[call_id] = turn
        return found

    def _is_stale(self, key: tuple[str, str, str]) -> bool:
        return self._kept[key][0] <= self._clock.monotonic()

    def _drop(self, key: tuple[str, str, str]) -> None:
        _, record = self._kept.pop(key, (0.0, b""))
        self._size -= len(record)


class RedisTurns:
    """Turns that every worker finds. While Redis is away they are kept in this process."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._here = MemoryTurns(clock)

    async def keep(self, ctx: TenantContext, call_ids: Sequence[str], turn: KeptTurn) -> None:
        """See `KeptTurns`."""
        record = encode_turn(turn)
        if record is None:
            log.warning("chat_turn_not_kept", reason="too large")
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for call_id in call_ids:
                    pipeline.set(self._key(ctx, call_id), record, ex=KEPT_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            log.warning("chat_turn_kept_in_process", reason=type(error).__name__)
            await self._here.keep(ctx, call_ids, turn)

    async def find(self, ctx: TenantContext, call_ids: Sequence[str]) -> dict[str, KeptTurn]:
        """See `KeptTurns`."""
        found = await self._here.find(ctx, call_ids)
        if not call_ids:
            return found
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                records = await self._redis.mget([self._key(ctx, call_id) for call_id in call_ids])
        except (RedisError, OSError) as error:
            log.warning("chat_turn_not_read", reason=type(error).__name__)
            return found
        for call_id, record in zip(call_ids, records, strict=True):
            turn = decode_turn(record) if isinstance(record, bytes) else None
            if turn is not None:
                found[call_id] = turn
        return found

    def _key(self, ctx: TenantContext, call_id: str) -> str:
        return kept_turn_key(ctx.tenant.id, ctx.principal.user_id, call_id)
