"""The session store of one process: for the embedded default, where there is one worker and nothing survives it.

Nothing here may be shared between processes; `serve` refuses several workers without Redis.
"""

from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord
from gateway_proxy.sessions.store import Change, SessionLimits, is_owned_by

MAX_SESSIONS: Final = 10_000
MAX_UPSTREAM: Final = 10_000


T = TypeVar("T")


@dataclass(slots=True)
class Held(Generic[T]):
    """A record and the monotonic second it lives until."""

    record: T
    until: float


class MemorySessionStore:
    """Sessions in dictionaries ordered by last use, bounded as a whole too (the longest idle of all makes room)."""

    def __init__(self, clock: Clock, limits: SessionLimits | None = None) -> None:
        self._clock = clock
        self._limits = limits or SessionLimits()
        self._sessions: OrderedDict[str, Held[SessionRecord]] = OrderedDict()
        self._by_owner: dict[tuple[str, str, str | None], OrderedDict[str, None]] = {}
        self._upstream: OrderedDict[tuple[str, str], Held[UpstreamSessionRecord]] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def add(self, record: SessionRecord) -> None:
        self._drop_expired()
        owned = self._by_owner.setdefault(_owner_of(record), OrderedDict())
        while len(owned) >= self._limits.per_client:
            self._forget(next(iter(owned)))
        while len(self._sessions) >= MAX_SESSIONS:
            self._forget(next(iter(self._sessions)))
        self._by_owner.setdefault(_owner_of(record), owned)[record.id] = None
        self._sessions[record.id] = Held(record, self._clock.monotonic() + self._limits.unused_seconds)

    async def find(
        self, session_id: str, *, tenant_id: str, user_id: str, client_id: str | None
    ) -> SessionRecord | None:
        held = self._living(session_id)
        if held is None or not is_owned_by(held.record, tenant_id=tenant_id, user_id=user_id, client_id=client_id):
            return None
        held.until = self._clock.monotonic() + self._limits.idle_seconds
        self._sessions.move_to_end(session_id)
        self._by_owner[_owner_of(held.record)].move_to_end(session_id)
        return held.record

    async def replace(self, record: SessionRecord) -> None:
        held = self._living(record.id)
        if held is not None and _owner_of(held.record) == _owner_of(record):
            held.record = record

    async def amend(self, record: SessionRecord, change: Change) -> None:
        held = self._living(record.id)
        if held is not None and _owner_of(held.record) == _owner_of(record):
            held.record = change(held.record)

    async def end(self, session_id: str, *, tenant_id: str) -> None:
        held = self._sessions.get(session_id)
        if held is not None and held.record.tenant_id == tenant_id:
            self._forget(session_id)

    async def find_upstream(self, key: str, *, tenant_id: str) -> UpstreamSessionRecord | None:
        held = self._upstream.get((tenant_id, key))
        if held is None or held.until <= self._clock.monotonic():
            self._upstream.pop((tenant_id, key), None)
            return None
        held.until = self._clock.monotonic() + self._limits.upstream_seconds
        self._upstream.move_to_end((tenant_id, key))
        return held.record

    async def add_upstream(self, record: UpstreamSessionRecord, *, tenant_id: str) -> UpstreamSessionRecord:
        present = await self.find_upstream(record.key, tenant_id=tenant_id)
        if present is not None:
            return present
        while len(self._upstream) >= MAX_UPSTREAM:
            self._upstream.popitem(last=False)
        self._upstream[(tenant_id, record.key)] = Held(record, self._clock.monotonic() + self._limits.upstream_seconds)
        return record

    async def remove_upstream(self, key: str, *, tenant_id: str, session_id: str | None) -> None:
        held = self._upstream.get((tenant_id, key))
        if held is not None and held.record.session_id == session_id:
            del self._upstream[(tenant_id, key)]

    def _living(self, session_id: str) -> Held[SessionRecord] | None:
        held = self._sessions.get(session_id)
        if held is not None and held.until <= self._clock.monotonic():
            self._forget(session_id)
            return None
        return held

    def _drop_expired(self) -> None:
        """Forget expired sessions from the longest idle end; stops at the first that lives."""
        now = self._clock.monotonic()
        while self._sessions:
            session_id, held = next(iter(self._sessions.items()))
            if held.until > now:
                return
            self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        held = self._sessions.pop(session_id)
        owner = _owner_of(held.record)
        owned = self._by_owner[owner]
        del owned[session_id]
        if not owned:
            del self._by_owner[owner]


def _owner_of(record: SessionRecord) -> tuple[str, str, str | None]:
    return record.tenant_id, record.user_id, record.client_id
