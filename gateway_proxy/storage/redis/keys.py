"""The only module with Redis key strings: `gw:<version>:{<tenant or ->}:<type>:…`. Every key is set with a TTL.

The braces are literal: they keep a tenant's keys in one cluster slot, so one transaction may touch several. Values and
commands do not belong here.
"""

import hashlib
from typing import Final

PREFIX: Final = "gw:1"


def _key(tenant_id: str | None, kind: str, *parts: str) -> str:
    return ":".join((PREFIX, "{" + (tenant_id or "-") + "}", kind, *parts))


def session_key(tenant_id: str, session_id: str) -> str:
    """A client's MCP session: a versioned record."""
    return _key(tenant_id, "session", session_id)


def session_owner_key(tenant_id: str, user_id: str, client_id: str | None) -> str:
    """The sessions of one user's client by last use: a sorted set. Client ids may be URLs, so they are hashed."""
    client = "-" if client_id is None else hashlib.sha256(client_id.encode()).hexdigest()[:32]
    return _key(tenant_id, "sessions", user_id, client)


def upstream_session_key(tenant_id: str, key: str) -> str:
    """A session that we hold with a backend: a versioned record."""
    return _key(tenant_id, "upstream", key)


def backend_list_key(tenant_id: str, backend_id: str, revision: int, member: str) -> str:
    """What a backend listed last (tools, prompts, …) in one revision of its definition: a versioned record."""
    return _key(tenant_id, "list", backend_id, str(revision), member)


def session_news_channel() -> str:
    """Pub/sub: which session records other workers must read again. Carries names only."""
    return _key(None, "session-news")


def workers_key() -> str:
    """The workers that read letters, by the second until which each is believed to live: a sorted set."""
    return _key(None, "workers")


def inbox_key(worker_id: str) -> str:
    """The letters to one worker: a stream."""
    return _key(None, "inbox", worker_id)


def event_log_key(tenant_id: str, session_id: str, call: str) -> str:
    """Messages for a client's MCP session that it may read later: a stream. `call` is empty for those of no call."""
    return _key(tenant_id, "events", session_id, call) if call else _key(tenant_id, "events", session_id)


def event_log_size_key(tenant_id: str, session_id: str, call: str) -> str:
    """How many bytes the messages of such a log have: a number."""
    return _key(tenant_id, "events-size", session_id, call) if call else _key(tenant_id, "events-size", session_id)


def event_news_channel() -> str:
    """Pub/sub: which event logs have grown. Carries keys only."""
    return _key(None, "event-news")


def limit_key(name: str, parts: tuple[str, ...]) -> str:
    """The moments of one rate limit: a list. The parts (addresses, accounts) are hashed, so none can be read."""
    digest = hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return _key(None, "limit", name, digest)


def revocation_news_channel() -> str:
    """Pub/sub: tokens were revoked; verified copies are to be forgotten."""
    return _key(None, "revocation-news")


def edit_news_channel() -> str:
    """Pub/sub: which tenants' definitions were edited. Carries tenant ids only."""
    return _key(None, "edit-news")


def kept_turn_key(tenant_id: str, user_id: str, call_id: str) -> str:
    """What a chat's client does not know of a turn, under the id of a call that it got: one compressed record."""
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return _key(tenant_id, "kept-turn", user_id, digest)
