"""Who is calling: the verified caller behind a bearer token."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway_proxy.domain.role import Role


class Scope(StrEnum):
    """The scopes a token can carry (RFC 6749 §3.3)."""

    MCP = "mcp"
    OPENAI = "openai"
    ADMIN = "admin"
    OFFLINE_ACCESS = "offline_access"


ROLE_SCOPES: Final[Mapping[Role, frozenset[str]]] = {
    Role.OWNER: frozenset({Scope.MCP, Scope.OPENAI, Scope.ADMIN, Scope.OFFLINE_ACCESS}),
    Role.ADMIN: frozenset({Scope.MCP, Scope.OPENAI, Scope.ADMIN, Scope.OFFLINE_ACCESS}),
    Role.MEMBER: frozenset({Scope.MCP, Scope.OPENAI, Scope.OFFLINE_ACCESS}),
}


class TokenKind(StrEnum):
    """Where a bearer token came from: the token endpoint, a person's own hand, or the operator's settings.

    PLATFORM is the operator's key for the admin surface; it stands in no table and no user is behind it. STATIC is a
    key of /v1 that we did not issue (`domain.outside_keys`); no user is behind it either.
    """

    ACCESS = "access"
    PERSONAL = "personal"
    PLATFORM = "platform"
    STATIC = "static"


PLATFORM_USER: Final = "platform"
"""What stands for the user of a principal whose kind is PLATFORM; no user has this id."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller. Tenant and user come from the token's row, never from a header or an argument.

    `scopes` are effective: what was granted, cut down to what the membership allows now.
    `client_id` is None for a personal token; `token_digest` is the SHA-256 that the row is found by.
    """

    token_id: str
    token_digest: bytes
    kind: TokenKind
    tenant_id: str
    user_id: str
    role: Role
    client_id: str | None
    scopes: frozenset[str]
    audience: str
    expires_at: datetime

    @property
    def is_platform(self) -> bool:
        """Whether this is the operator with the platform key, and not a person."""
        return self.kind is TokenKind.PLATFORM
