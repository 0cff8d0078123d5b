"""Grants: a user's recorded consent for one client, redirect host and scope set in one tenant.

Ending a grant ends every token family under it, in the same statement sequence. Whether consent is needed is decided
elsewhere.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth import Grant
from gateway_proxy.storage.sql.tables import clients, grants, token_families
from gateway_proxy.storage.sql.tokens import revoke_family


def add_grant(session: Session, *, grant: Grant) -> None:
    """Insert a grant."""
    session.execute(
        insert(grants).values(
            id=grant.id,
            tenant_id=grant.tenant_id,
            user_id=grant.user_id,
            client_id=grant.client_id,
            redirect_host=grant.redirect_host,
            scope=grant.scope,
            created_at=grant.created_at,
            revoked_at=grant.revoked_at,
        )
    )


def find_covering_grant(
    session: Session, *, tenant_id: str, user_id: str, client_id: str, redirect_host: str, scope: frozenset[str]
) -> Grant | None:
    """The living grant of this user, client and redirect host in the tenant whose scopes include `scope`."""
    rows = session.execute(
        select(grants)
        .where(
            grants.c.tenant_id == tenant_id,
            grants.c.user_id == user_id,
            grants.c.client_id == client_id,
            grants.c.redirect_host == redirect_host,
            grants.c.revoked_at.is_(None),
        )
        .order_by(grants.c.created_at.desc(), grants.c.id)
    )
    return next((_grant(row) for row in rows if scope <= frozenset(row.scope.split())), None)


def lock_grant(session: Session, *, tenant_id: str, grant_id: str) -> Grant | None:
    """A grant if it is alive, kept from being revoked until the transaction ends: a family may be put under it."""
    statement = (
        select(grants)
        .where(grants.c.id == grant_id, grants.c.tenant_id == tenant_id, grants.c.revoked_at.is_(None))
        .with_for_update(key_share=True)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else _grant(row)


def list_grants(session: Session, *, tenant_id: str, user_id: str) -> list[tuple[Grant, str]]:
    """A user's living grants in the tenant with the client's name, newest first."""
    rows = session.execute(
        select(grants, clients.c.name.label("client_name"))
        .join(clients, clients.c.id == grants.c.client_id)
        .where(grants.c.tenant_id == tenant_id, grants.c.user_id == user_id, grants.c.revoked_at.is_(None))
        .order_by(grants.c.created_at.desc(), grants.c.id)
    )
    return [(_grant(row), row.client_name) for row in rows]


def revoke_grant(session: Session, *, tenant_id: str, user_id: str, grant_id: str, now: datetime) -> bool:
    """End a grant and every token that came from it. Returns whether there was a living one.

    Families are locked before their grant, as everywhere; those that came under it while we waited are ended too.
    """
    owned = (
        (grants.c.id == grant_id)
        & (grants.c.tenant_id == tenant_id)
        & (grants.c.user_id == user_id)
        & grants.c.revoked_at.is_(None)
    )
    if session.execute(select(grants.c.id).where(owned)).one_or_none() is None:
        return False
    _revoke_families(session, tenant_id=tenant_id, grant_id=grant_id, now=now)
    statement = update(grants).where(owned).values(revoked_at=now)
    was_alive = session.execute(statement.returning(grants.c.id)).one_or_none() is not None
    _revoke_families(session, tenant_id=tenant_id, grant_id=grant_id, now=now)
    return was_alive


def _revoke_families(session: Session, *, tenant_id: str, grant_id: str, now: datetime) -> None:
    living = select(token_families.c.id).where(
        token_families.c.grant_id == grant_id,
        token_families.c.tenant_id == tenant_id,
        token_families.c.revoked_at.is_(None),
    )
    for family_id in session.scalars(living.order_by(token_families.c.id)).all():
        revoke_family(session, tenant_id=tenant_id, family_id=family_id, reason="grant_revoked", now=now)


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        client_id=row.client_id,
        redirect_host=row.redirect_host,
        scope=row.scope,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
