"""Browser sessions: who is signed in behind a cookie. Not MCP sessions, which live in the session store."""

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.tenant import User
from gateway_proxy.storage.sql.tables import browser_sessions, users
from gateway_proxy.storage.sql.users import user_of


def add_browser_session(session: Session, *, digest: bytes, user_id: str, now: datetime, expires_at: datetime) -> None:
    """Remember that a browser is signed in; `digest` is the SHA-256 of the id in its cookie."""
    session.execute(
        insert(browser_sessions).values(digest=digest, user_id=user_id, created_at=now, expires_at=expires_at)
    )


def find_browser_session_user(session: Session, *, digest: bytes, now: datetime) -> User | None:
    """Find who is signed in; None if the session is unknown, expired or revoked, or its user disabled."""
    statement = (
        select(users)
        .join(browser_sessions, browser_sessions.c.user_id == users.c.id)
        .where(
            browser_sessions.c.digest == digest,
            browser_sessions.c.expires_at > now,
            browser_sessions.c.revoked_at.is_(None),
            users.c.disabled_at.is_(None),
        )
    )
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else user_of(row)


def revoke_browser_session(session: Session, *, digest: bytes, now: datetime) -> None:
    """Sign one browser out. An unknown session is signed out already."""
    session.execute(
        update(browser_sessions)
        .where(browser_sessions.c.digest == digest, browser_sessions.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def revoke_browser_sessions(session: Session, *, user_id: str, now: datetime, keep: bytes | None = None) -> int:
    """Sign a user out everywhere, except in the browser whose digest is `keep`. Returns how many there were."""
    statement = update(browser_sessions).where(
        browser_sessions.c.user_id == user_id,
        browser_sessions.c.expires_at > now,
        browser_sessions.c.revoked_at.is_(None),
    )
    if keep is not None:
        statement = statement.where(browser_sessions.c.digest != keep)
    return len(session.execute(statement.values(revoked_at=now).returning(browser_sessions.c.digest)).all())
