"""Personal access tokens: what people make for tools that cannot do OAuth. Checking one stands in `principals`."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import RowMapping, insert, or_, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.tables import personal_tokens

_USE_IS_NOTED_EVERY: Final = timedelta(minutes=5)


def add_personal_token(session: Session, *, tenant_id: str, digest: bytes, token: PersonalToken) -> None:
    """Keep a token's digest; the secret itself is shown once and kept nowhere (security AS8).

    Raises:
        AlreadyExists: The id is taken: the form that chose it was sent twice.
    """
    if token.tenant_id != tenant_id:
        raise ValueError(f"personal token {token.id} belongs to another tenant")
    with naming_duplicates("personal token", token.id):
        session.execute(
            insert(personal_tokens).values(
                id=token.id,
                digest=digest,
                tenant_id=tenant_id,
                user_id=token.user_id,
                name=token.name,
                scope=token.scope,
                created_at=token.created_at,
                expires_at=token.expires_at,
                last_used_at=token.last_used_at,
                revoked_at=token.revoked_at,
            )
        )


def list_personal_tokens(session: Session, *, tenant_id: str, user_id: str) -> list[PersonalToken]:
    """List a user's tokens in one tenant, the newest first, revoked and expired ones too."""
    statement = (
        select(personal_tokens)
        .where(personal_tokens.c.tenant_id == tenant_id, personal_tokens.c.user_id == user_id)
        .order_by(personal_tokens.c.created_at.desc(), personal_tokens.c.id)
    )
    return [_token_of(row) for row in session.execute(statement).mappings()]


def list_tenant_personal_tokens(session: Session, *, tenant_id: str) -> list[PersonalToken]:
    """List everybody's tokens in one tenant, the newest first: for its administrators and the command line."""
    statement = (
        select(personal_tokens)
        .where(personal_tokens.c.tenant_id == tenant_id)
        .order_by(personal_tokens.c.created_at.desc(), personal_tokens.c.id)
    )
    return [_token_of(row) for row in session.execute(statement).mappings()]


def revoke_personal_token(session: Session, *, tenant_id: str, token_id: str, now: datetime) -> bool:
    """End a token at once. False if this tenant has no living token of that id."""
    statement = (
        update(personal_tokens)
        .where(
            personal_tokens.c.tenant_id == tenant_id,
            personal_tokens.c.id == token_id,
            personal_tokens.c.revoked_at.is_(None),
        )
        .values(revoked_at=now)
        .returning(personal_tokens.c.id)
    )
    return session.execute(statement).first() is not None


def note_personal_token_use(session: Session, *, tenant_id: str, token_id: str, now: datetime) -> None:
    """Remember that a token was used, to the nearest five minutes: not a write for every call."""
    session.execute(
        update(personal_tokens)
        .where(
            personal_tokens.c.tenant_id == tenant_id,
            personal_tokens.c.id == token_id,
            or_(
                personal_tokens.c.last_used_at.is_(None),
                personal_tokens.c.last_used_at <= now - _USE_IS_NOTED_EVERY,
            ),
        )
        .values(last_used_at=now)
    )


def _token_of(row: RowMapping) -> PersonalToken:
    return PersonalToken(
        id=row["id"],
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        name=row["name"],
        scope=row["scope"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
