"""Authorization codes: found by digest, taken once. What they are bound to is compared elsewhere, before the taking."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth import AuthorizationCode
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.tables import authorization_codes


def add_code(session: Session, *, code: AuthorizationCode, digest: bytes, transaction_id: str) -> None:
    """Insert a code; a consent transaction has at most one.

    Raises:
        AlreadyExists: The transaction gave a code before.
    """
    with naming_duplicates("authorization code", transaction_id):
        session.execute(
            insert(authorization_codes).values(
                id=code.id,
                digest=digest,
                transaction_id=transaction_id,
                family_id=code.family_id,
                tenant_id=code.tenant_id,
                user_id=code.user_id,
                client_id=code.client_id,
                redirect_uri=code.redirect_uri,
                scope=code.scope,
                resource=code.resource,
                code_challenge=code.code_challenge,
                issued_at=code.issued_at,
                expires_at=code.expires_at,
                used_at=code.used_at,
            )
        )


def find_authorization_code(session: Session, *, digest: bytes) -> AuthorizationCode | None:
    """The code of that digest, in whatever state it is. The digest is what says whose it is."""
    row = session.execute(select(authorization_codes).where(authorization_codes.c.digest == digest)).one_or_none()
    return None if row is None else _code(row)


def take_code(session: Session, *, tenant_id: str, digest: bytes, now: datetime) -> AuthorizationCode | None:
    """Mark a code used in the statement that reads it: of concurrent takers exactly one gets it (security AS5).

    None when it is unknown, expired or was taken before.
    """
    row = session.execute(
        update(authorization_codes)
        .where(
            authorization_codes.c.digest == digest,
            authorization_codes.c.tenant_id == tenant_id,
            authorization_codes.c.used_at.is_(None),
            authorization_codes.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(*authorization_codes.c)
    ).one_or_none()
    return None if row is None else _code(row)


def _code(row: Row[Any]) -> AuthorizationCode:
    return AuthorizationCode(
        id=row.id,
        family_id=row.family_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        client_id=row.client_id,
        redirect_uri=row.redirect_uri,
        scope=row.scope,
        resource=row.resource,
        code_challenge=row.code_challenge,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
