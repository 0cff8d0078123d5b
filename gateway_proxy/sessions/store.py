"""The session store as its users see it: one protocol, two implementations (Redis, in-process), one suite for both.

Nothing that knows Redis, and nothing that decides what a session may do, belongs here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What our ids look like; anything else was never issued and does not reach a key."""


Change = Callable[[SessionRecord], SessionRecord]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions live and how many one user's client may hold.

    `idle_seconds` is 24 h, sliding: a desktop client left open over night goes on in the morning without a new
    handshake, and a day later nobody misses the record (about 500 bytes).
    `unused_seconds` holds until the first request that carries the id: Claude.ai opens a session before nearly every
    call and never echoes the id, so those records go after 15 minutes.
    `per_client` counts per user *and* client, and the longest idle makes room: a client that never reuses its sessions
    pushes out its own and not those of the user's other programs. 64 is twice what the busiest client measured keeps.
    `upstream_seconds` outlives the client's session by an hour, so a backend session is never forgotten under it.
    """

    idle_seconds: float = 86_400.0
    unused_seconds: float = 900.0
    per_client: int = 64
    upstream_seconds: float = 90_000.0


class SessionStore(Protocol):
    """MCP sessions of clients, and the sessions that we hold with backends, shared by all workers.

    Every method raises StorageUnavailable while the store cannot be reached; it never answers "unknown" then, because
    a client throws its session away on a 404. A session of another tenant, user or client is the same as an unknown
    one. A refreshed token keeps its session: the binding is to tenant, user and client.
    """

    async def add(self, record: SessionRecord) -> None:
        """Remember a new session; beyond the cap the longest idle of the same user and client ends."""

    async def find(
        self, session_id: str, *, tenant_id: str, user_id: str, client_id: str | None
    ) -> SessionRecord | None:
        """The session, if it is this caller's and alive. Slides its idle time-out."""

    async def replace(self, record: SessionRecord) -> None:
        """Store a changed record. A session that ended meanwhile stays ended."""

    async def amend(self, record: SessionRecord, change: Change) -> None:
        """Apply a change to the session as it is stored now: it holds beside what other workers change meanwhile.

        `change` may be asked more than once. A session that ended meanwhile stays ended.
        """

    async def end(self, session_id: str, *, tenant_id: str) -> None:
        """Forget the session; every worker refuses it from now on."""

    async def find_upstream(self, key: str, *, tenant_id: str) -> UpstreamSessionRecord | None:
        """The session that some worker opened with the backend behind `key`."""

    async def add_upstream(self, record: UpstreamSessionRecord, *, tenant_id: str) -> UpstreamSessionRecord:
        """Offer a session just opened; the first writer wins and the winner is returned."""

    async def remove_upstream(self, key: str, *, tenant_id: str, session_id: str | None) -> None:
        """Forget an upstream session that the backend no longer knows, unless another has replaced it meanwhile."""


def is_owned_by(record: SessionRecord, *, tenant_id: str, user_id: str, client_id: str | None) -> bool:
    """Whether the session was opened by this very tenant, user and client."""
    return record.tenant_id == tenant_id and record.user_id == user_id and record.client_id == client_id
