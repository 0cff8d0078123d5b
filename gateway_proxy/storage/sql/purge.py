"""Removing what nobody can use any more. What reuse detection or a person's list still needs is kept for longer."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Table, and_, delete, exists, select, update
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.tables import (
    access_tokens,
    authorization_codes,
    browser_sessions,
    clients,
    grants,
    personal_tokens,
    refresh_tokens,
    token_families,
)

BATCH: Final = 1000
CODES_ARE_KEPT: Final = timedelta(hours=1)  # a consent's transaction id must stay taken while it could be sent again
TOKENS_ARE_KEPT: Final = timedelta(days=30)  # so that people see in their list what has expired
LONGEST_GRACE: Final = timedelta(minutes=5)  # the cap on GATEWAY_REFRESH_GRACE
_OF_A_FAMILY: Final = (authorization_codes, access_tokens, refresh_tokens)


def purge_expired(session: Session, *, now: datetime, refresh_grace: timedelta = LONGEST_GRACE) -> int:
    """Remove up to `BATCH` rows of each kind; returns how many in all. Call again until it returns 0.

    Sealed token responses are erased once `refresh_grace` has passed, where no later refresh has done it.

    Small transactions: a purge of months must neither run into the statement time-out nor hold up a redemption. Rows
    that somebody else has locked are left for the next time.
    """
    old_codes = authorization_codes.c.expires_at <= now - CODES_ARE_KEPT
    old_personal_tokens = personal_tokens.c.expires_at <= now - TOKENS_ARE_KEPT
    unused = clients.c.expires_at.is_not(None) & (clients.c.expires_at <= now)
    unused &= ~exists().where(grants.c.client_id == clients.c.id)
    return (
        _erase_grace_copies(session, now - refresh_grace)
        + _purge(session, authorization_codes, authorization_codes.c.id, old_codes)
        + _purge(session, access_tokens, access_tokens.c.id, access_tokens.c.expires_at <= now)
        + _purge(session, refresh_tokens, refresh_tokens.c.id, refresh_tokens.c.expires_at <= now)
        + _purge(session, token_families, token_families.c.id, _is_spent(now))
        + _purge(session, personal_tokens, personal_tokens.c.id, old_personal_tokens)
        + _purge(session, browser_sessions, browser_sessions.c.digest, browser_sessions.c.expires_at <= now)
        + _purge(session, clients, clients.c.id, unused)
    )


def _is_spent(now: datetime) -> ColumnElement[bool]:
    """A family that no code and no token refers to any more, and that was not opened only just now."""
    old = token_families.c.created_at <= now - CODES_ARE_KEPT
    referring = (exists().where(table.c.family_id == token_families.c.id) for table in _OF_A_FAMILY)
    return and_(old, *(~reference for reference in referring))


def _erase_grace_copies(session: Session, used_before: datetime) -> int:
    over = refresh_tokens.c.sealed_response.is_not(None) & (refresh_tokens.c.used_at <= used_before)
    rows = select(refresh_tokens.c.id).where(over).limit(BATCH).with_for_update(skip_locked=True)
    statement = update(refresh_tokens).where(refresh_tokens.c.id.in_(rows)).values(sealed_response=None)
    return len(session.execute(statement.returning(refresh_tokens.c.id)).all())


def _purge(session: Session, table: Table, key: ColumnElement[object], condition: ColumnElement[bool]) -> int:
    rows = select(key).where(condition).limit(BATCH).with_for_update(skip_locked=True, of=table)
    return len(session.execute(delete(table).where(key.in_(rows)).returning(key)).all())
