"""Removing what nobody can use any more. What reuse detection or a person's list still needs is kept for longer."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Table, delete, exists, select, update
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


def purge_expired(session: Session, *, now: datetime) -> int:
    """Remove up to `BATCH` rows of each kind; returns how many in all. Call again until it returns 0.

    Small transactions: a purge of months must neither run into the statement time-out nor hold up a redemption. Rows
    that somebody else has locked are left for the next time.
    """
    old_codes = authorization_codes.c.expires_at <= now - CODES_ARE_KEPT
    old_personal_tokens = personal_tokens.c.expires_at <= now - TOKENS_ARE_KEPT
    unused = clients.c.expires_at.is_not(None) & (clients.c.expires_at <= now)
    unused &= ~exists().where(grants.c.client_id == clients.c.id)
    return (
        _erase_grace_copies(session, now)
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
    living = (exists().where(table.c.family_id == token_families.c.id) for table in _OF_A_FAMILY)
    condition = token_families.c.created_at <= now - CODES_ARE_KEPT
    for refers in living:
        condition &= ~refers
    return condition


_OF_A_FAMILY: Final = (authorization_codes, access_tokens, refresh_tokens)


def _erase_grace_copies(session: Session, now: datetime) -> int:
    """Erase sealed token responses whose window has passed, where no later refresh has done it."""
    over = refresh_tokens.c.sealed_response.is_not(None) & (refresh_tokens.c.used_at <= now - LONGEST_GRACE)
    rows = select(refresh_tokens.c.id).where(over).limit(BATCH).with_for_update(skip_locked=True)
    statement = update(refresh_tokens).where(refresh_tokens.c.id.in_(rows)).values(sealed_response=None)
    return len(session.execute(statement.returning(refresh_tokens.c.id)).all())


def _purge(session: Session, table: Table, key: ColumnElement[object], condition: ColumnElement[bool]) -> int:
    rows = select(key).where(condition).limit(BATCH).with_for_update(skip_locked=True, of=table)
    return len(session.execute(delete(table).where(key.in_(rows)).returning(key)).all())
