"""MCP sessions (2025-era transport sessions) and what is remembered of sessions that we opened upstream."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A client's MCP session: enough for any worker to serve it. `*_json` fields are raw JSON, kept byte for byte.

    Bound to tenant, user and client; a session of anybody else is the same as an unknown one.
    """

    id: str
    tenant_id: str
    user_id: str
    client_id: str | None
    protocol_version: str
    client_info_json: bytes
    capabilities_json: bytes
    log_level: str | None = None
    subscriptions: frozenset[str] = field(default_factory=frozenset)
    initialized: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamSessionRecord:
    """A session that we hold with a backend, shared by all workers: its id there and what it said on initialize.

    `path` is where the backend sent us on its own origin; None when it is served where its definition says.
    """

    key: str
    session_id: str | None
    protocol_version: str
    initialize_result_json: bytes
    path: str | None = None
