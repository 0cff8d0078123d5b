"""Token families, access tokens and refresh tokens. Rows are found by digest; no plaintext secret ever gets here.

Whoever changes a family's tokens locks the family first (`lock_family`), so that rotation, reuse and revocation of one
family happen one after the other, on every worker. What follows from what is found is decided elsewhere.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth import AccessToken, RefreshToken, TokenFamily
from gateway_proxy.storage.sql.tables import access_tokens, refresh_tokens, token_families


def add_family(session: Session, *, family: TokenFamily) -> None:
    """Insert a family; its code and tokens refer to it."""
    session.execute(
        insert(token_families).values(
            id=family.id,
            tenant_id=family.tenant_id,
            user_id=family.user_id,
            client_id=family.client_id,
            grant_id=family.grant_id,
            scope=family.scope,
            resource=family.resource,
            generation=family.generation,
            created_at=family.created_at,
            revoked_at=family.revoked_at,
        )
    )


def lock_family(session: Session, *, tenant_id: str, family_id: str) -> TokenFamily | None:
    """Read a family and keep everybody else from it until the transaction ends.

    FOR NO KEY UPDATE on PostgreSQL: rows that refer to the family can still be inserted. SQLite ignores the clause; its
    write transactions are one at a time anyway (BEGIN IMMEDIATE).
    """
    statement = (
        select(token_families)
        .where(token_families.c.id == family_id, token_families.c.tenant_id == tenant_id)
        .with_for_update(key_share=True)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else _family(row)


def advance_family(session: Session, *, tenant_id: str, family_id: str, generation: int) -> None:
    """Note the newest generation of refresh tokens. The family must be locked."""
    session.execute(
        update(token_families)
        .where(token_families.c.id == family_id, token_families.c.tenant_id == tenant_id)
        .values(generation=generation)
    )


def revoke_family(session: Session, *, tenant_id: str, family_id: str, reason: str, now: datetime) -> bool:
    """End a family with its access tokens, and erase the sealed copies. Returns whether it was alive."""
    row = session.execute(
        update(token_families)
        .where(
            token_families.c.id == family_id,
            token_families.c.tenant_id == tenant_id,
            token_families.c.revoked_at.is_(None),
        )
        .values(revoked_at=now, revoked_reason=reason)
        .returning(token_families.c.id)
    ).one_or_none()
    session.execute(
        update(access_tokens)
        .where(access_tokens.c.family_id == family_id, access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    session.execute(
        update(refresh_tokens)
        .where(refresh_tokens.c.family_id == family_id, refresh_tokens.c.sealed_response.is_not(None))
        .values(sealed_response=None)
    )
    return row is not None


def add_access_token(session: Session, *, token: AccessToken, digest: bytes) -> None:
    """Insert an access token."""
    session.execute(
        insert(access_tokens).values(
            id=token.id,
            digest=digest,
            family_id=token.family_id,
            tenant_id=token.tenant_id,
            user_id=token.user_id,
            client_id=token.client_id,
            scope=token.scope,
            audience=token.audience,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
        )
    )


def find_access_token(session: Session, *, digest: bytes) -> AccessToken | None:
    """The access token of that digest; `revoked_at` is the family's when the token's own is empty."""
    row = session.execute(
        select(access_tokens, token_families.c.revoked_at.label("family_revoked_at"))
        .join(token_families, token_families.c.id == access_tokens.c.family_id)
        .where(access_tokens.c.digest == digest)
    ).one_or_none()
    return None if row is None else _access_token(row)


def revoke_access_token(session: Session, *, tenant_id: str, token_id: str, now: datetime) -> None:
    """End one access token; its family lives on (RFC 7009 §2.1)."""
    session.execute(
        update(access_tokens)
        .where(
            access_tokens.c.id == token_id, access_tokens.c.tenant_id == tenant_id, access_tokens.c.revoked_at.is_(None)
        )
        .values(revoked_at=now)
    )


def add_refresh_token(session: Session, *, token: RefreshToken, digest: bytes) -> None:
    """Insert a refresh token. Two of one generation in a family are impossible (unique constraint)."""
    session.execute(
        insert(refresh_tokens).values(
            id=token.id,
            digest=digest,
            family_id=token.family_id,
            tenant_id=token.tenant_id,
            user_id=token.user_id,
            client_id=token.client_id,
            generation=token.generation,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            used_at=token.used_at,
            sealed_response=token.sealed_response,
        )
    )


def find_refresh_token(session: Session, *, digest: bytes) -> RefreshToken | None:
    """The refresh token of that digest, spent or not."""
    row = session.execute(select(refresh_tokens).where(refresh_tokens.c.digest == digest)).one_or_none()
    return None if row is None else _refresh_token(row)


def spend_refresh_token(
    session: Session, *, tenant_id: str, token_id: str, sealed_response: bytes, now: datetime
) -> bool:
    """Mark a refresh token used and keep the sealed copy of what it gave. Returns whether it was unused."""
    row = session.execute(
        update(refresh_tokens)
        .where(
            refresh_tokens.c.id == token_id, refresh_tokens.c.tenant_id == tenant_id, refresh_tokens.c.used_at.is_(None)
        )
        .values(used_at=now, sealed_response=sealed_response)
        .returning(refresh_tokens.c.id)
    ).one_or_none()
    return row is not None


def erase_sealed_responses(session: Session, *, tenant_id: str, family_id: str, before_generation: int) -> None:
    """Erase the sealed copies of a family's older generations: their successor has been used."""
    session.execute(
        update(refresh_tokens)
        .where(
            refresh_tokens.c.family_id == family_id,
            refresh_tokens.c.tenant_id == tenant_id,
            refresh_tokens.c.generation < before_generation,
            refresh_tokens.c.sealed_response.is_not(None),
        )
        .values(sealed_response=None)
    )


def _family(row: Row[Any]) -> TokenFamily:
    return TokenFamily(
        id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        client_id=row.client_id,
        grant_id=row.grant_id,
        scope=row.scope,
        resource=row.resource,
        generation=row.generation,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )


def _access_token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        id=row.id,
        family_id=row.family_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        client_id=row.client_id,
        scope=row.scope,
        audience=row.audience,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at or row.family_revoked_at,
    )


def _refresh_token(row: Row[Any]) -> RefreshToken:
    return RefreshToken(
        id=row.id,
        family_id=row.family_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        client_id=row.client_id,
        generation=row.generation,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        sealed_response=row.sealed_response,
    )
