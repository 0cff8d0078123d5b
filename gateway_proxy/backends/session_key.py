"""Which upstream session a call goes to: how far a session, or a child process, may be shared."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import msgspec

from gateway_proxy.backends.caller import NOTHING_DECLARED, Caller, Declared
from gateway_proxy.domain.backend import Backend, Isolation, Transport

SHARED: Final = ""
_ON_CHILDREN: Final = frozenset({Transport.STDIO, Transport.SSE})


@dataclass(frozen=True)
class SessionKey:
    """(tenant, backend, revision, isolation part, declared capabilities): equal keys share an upstream session.

    `part` is empty for a session shared by the tenant, else it names the user or the client's session. `era` is empty
    for the handshake's.
    """

    tenant_id: str
    backend_id: str
    revision: int
    part: str
    capabilities: bytes
    variant: str = ""
    era: str = ""

    @cached_property
    def digest(self) -> str:
        """The key as 64 hex digits, for the session store and the runner. Any change of a part changes it."""
        parts = [self.tenant_id, self.backend_id, self.revision, self.part, self.capabilities.decode("utf-8")]
        if self.variant:
            parts.append(self.variant)
        if self.era:
            parts.append(f"era:{self.era}")
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def with_variant(self, variant: str) -> "SessionKey":
        """The key of the same session over another transport (`transport: auto`)."""
        return self if variant == self.variant else replace(self, variant=variant)

    @property
    def is_exclusive(self) -> bool:
        """Whether one client session has the upstream session to itself."""
        return self.part.startswith("session:")


def isolation_of(backend: Backend, declared: Declared) -> Isolation:
    """The backend's own choice, else the default of its transport (relay.md 5)."""
    if backend.isolation is not None:
        return backend.isolation
    if backend.transport in _ON_CHILDREN:
        return "session" if declared.methods else "tenant"
    return "user"


def part_of(backend: Backend, user_id: str, caller: Caller, declared: Declared) -> str:
    """The isolation part of the key. A caller without a session shares with the user's other ones without."""
    isolation = isolation_of(backend, declared)
    if isolation == "tenant":
        return SHARED
    if isolation == "session" and caller.session_id is not None:
        return part_of_session(caller.session_id)
    return f"user:{user_id}"


def part_of_session(session_id: str) -> str:
    """The isolation part of what one client session has to itself."""
    return f"session:{session_id}"


def stateless_part_of(backend: Backend, user_id: str) -> str:
    """The isolation part where every request stands alone (2026-07-28): questions come back as results of the very
    call that they belong to, so no caller needs a child of its own for them."""
    isolation = backend.isolation or ("tenant" if backend.transport in _ON_CHILDREN else "user")
    return SHARED if isolation == "tenant" else f"user:{user_id}"


def allowed_for(part: str, declared: Declared) -> Declared:
    """What may be declared upstream: nothing where several users share, since answers could not be attributed."""
    return NOTHING_DECLARED if part == SHARED else declared
