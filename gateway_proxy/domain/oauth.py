"""The authorization server's nouns: clients, grants, codes and tokens as they are once read from storage.

No digest of anything is kept here beyond what a caller needs, and never a plaintext secret.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AuthMethod = Literal["none", "client_secret_post", "client_secret_basic"]
ApplicationType = Literal["web", "native"]
ClientKind = Literal["registered", "metadata_document"]


@dataclass(frozen=True, slots=True)
class Client:
    """OAuth software (RFC 7591, or a Client ID Metadata Document). Never an HTTP client.

    `secret_digest` is None for a public client; `expires_at` is set while a registration is unused.
    """

    id: str
    kind: ClientKind
    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    response_types: tuple[str, ...]
    auth_method: AuthMethod
    application_type: ApplicationType
    scope: str
    client_uri: str | None
    secret_digest: bytes | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A user's recorded consent for one client, redirect host and scope set in one tenant."""

    id: str
    tenant_id: str
    user_id: str
    client_id: str
    redirect_host: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """What an authorization code was bound to when it was issued (RFC 6749 §4.1.2, RFC 7636, RFC 8707)."""

    id: str
    family_id: str
    tenant_id: str
    user_id: str
    client_id: str
    redirect_uri: str
    scope: str
    resource: str
    code_challenge: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class TokenFamily:
    """All tokens that descend from one authorization code. Revoking it ends every one of them."""

    id: str
    tenant_id: str
    user_id: str
    client_id: str
    grant_id: str
    scope: str
    resource: str
    generation: int
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token's row. `sealed_response` is the grace copy, readable only with the presented secret."""

    id: str
    family_id: str
    tenant_id: str
    user_id: str
    client_id: str
    generation: int
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None
    sealed_response: bytes | None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token's row joined with its family: what introspection and revocation need."""

    id: str
    family_id: str
    tenant_id: str
    user_id: str
    client_id: str
    scope: str
    audience: str
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A person's own token (gw_pat_): shown once, named, expiring, revocable."""

    id: str
    tenant_id: str
    user_id: str
    name: str
    scope: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
