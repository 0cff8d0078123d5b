"""Ending all that a user holds in one tenant. Ending one family or one token stands with the tokens themselves."""

from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.tables import (
    access_tokens,
    authorization_codes,
    grants,
    personal_tokens,
    refresh_tokens,
    token_families,
)


def revoke_user_tokens(session: Session, *, tenant_id: str, user_id: str, reason: str, now: datetime) -> None:
    """Revoke a user's grants, token families and tokens in one tenant, and erase the sealed grace copies.

    The families come first: a refresh or a redemption that is under way holds or awaits that row's lock, so it either
    ends before this and is revoked with the rest, or finds its family revoked.
    """
    for table in (token_families, grants, access_tokens, personal_tokens):
        owned = (table.c.tenant_id == tenant_id) & (table.c.user_id == user_id) & table.c.revoked_at.is_(None)
        values = {"revoked_at": now} | ({"revoked_reason": reason} if table is token_families else {})
        session.execute(update(table).where(owned).values(**values))
    session.execute(
        update(refresh_tokens)
        .where(refresh_tokens.c.tenant_id == tenant_id, refresh_tokens.c.user_id == user_id)
        .values(sealed_response=None)
    )
    session.execute(
        delete(authorization_codes).where(
            authorization_codes.c.tenant_id == tenant_id,
            authorization_codes.c.user_id == user_id,
            authorization_codes.c.used_at.is_(None),
        )
    )
