"""The one query behind every bearer check, for access tokens and personal tokens alike. Nothing is decided here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, Table, cast, literal, null, select, union_all
from sqlalchemy.orm import Session

from gateway_proxy.domain.principal import TokenKind
from gateway_proxy.domain.tenant import Role, Tenant
from gateway_proxy.storage.sql.tables import (
    access_tokens,
    grants,
    memberships,
    personal_tokens,
    tenants,
    token_families,
    users,
)
from gateway_proxy.storage.sql.tenants import tenant_columns, tenant_of


@dataclass(frozen=True, slots=True)
class TokenGrounds:
    """What a bearer token stands on at this moment. `scope` is what was granted, before the role cuts it down."""

    token_id: str
    digest: bytes
    kind: TokenKind
    tenant: Tenant
    user_id: str
    role: Role
    client_id: str | None
    scope: str
    audience: str | None
    expires_at: datetime


def find_token_grounds(session: Session, *, digest: bytes, now: datetime) -> TokenGrounds | None:
    """Find the living token with this digest, its tenant and its user's membership (security RS2, T1).

    None if it is unknown, expired or revoked, if its family or grant is revoked, if its user is disabled or no longer
    a member: the caller cannot tell these apart. `audience` is None for a personal token, whose audience is all of us.
    """
    row = session.execute(union_all(_access(digest, now), _personal(digest, now))).mappings().one_or_none()
    if row is None:
        return None
    return TokenGrounds(
        token_id=row["token_id"],
        digest=digest,
        kind=TokenKind(row["kind"]),
        tenant=tenant_of(row),
        user_id=row["user_id"],
        role=Role(row["role"]),
        client_id=row["client_id"],
        scope=row["scope"],
        audience=row["audience"],
        expires_at=row["expires_at"],
    )


def _access(digest: bytes, now: datetime) -> Select[Any]:
    columns = _columns(access_tokens, TokenKind.ACCESS, access_tokens.c.client_id, access_tokens.c.audience)
    return (
        columns.join(token_families, token_families.c.id == access_tokens.c.family_id)
        .join(grants, grants.c.id == token_families.c.grant_id)
        .where(token_families.c.revoked_at.is_(None), grants.c.revoked_at.is_(None))
        .where(*_alive(access_tokens, digest, now))
    )


def _personal(digest: bytes, now: datetime) -> Select[Any]:
    nothing = cast(null(), String)
    columns = _columns(personal_tokens, TokenKind.PERSONAL, nothing, nothing)
    return columns.where(*_alive(personal_tokens, digest, now))


def _columns(
    tokens: Table, kind: TokenKind, client_id: ColumnElement[Any], audience: ColumnElement[Any]
) -> Select[Any]:
    return (
        select(
            tokens.c.id.label("token_id"),
            literal(kind.value).label("kind"),
            *tenant_columns(),
            tokens.c.user_id,
            memberships.c.role,
            client_id.label("client_id"),
            tokens.c.scope,
            audience.label("audience"),
            tokens.c.expires_at,
        )
        .select_from(tokens)
        .join(tenants, tenants.c.id == tokens.c.tenant_id)
        .join(users, users.c.id == tokens.c.user_id)
        .join(
            memberships,
            (memberships.c.tenant_id == tokens.c.tenant_id) & (memberships.c.user_id == tokens.c.user_id),
        )
    )


def _alive(tokens: Table, digest: bytes, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        tokens.c.digest == digest,
        tokens.c.expires_at > now,
        tokens.c.revoked_at.is_(None),
        users.c.disabled_at.is_(None),
    )
