"""Clients: OAuth software by id, registered or described by a metadata document. Not owned by any tenant.

No secret is stored, only its digest; the decision whether a client may do something is not taken here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth import Client
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.tables import clients
from gateway_proxy.storage.sql.upsert import insert_for


def add_client(session: Session, *, client: Client) -> None:
    """Insert a client.

    Raises:
        AlreadyExists: The id is taken.
    """
    with naming_duplicates("client", client.id):
        session.execute(insert(clients).values(id=client.id, **_values(client)))


def put_client(session: Session, *, client: Client) -> None:
    """Insert a client or overwrite what is stored of it: a metadata document may change over time."""
    values = _values(client)
    statement = insert_for(session, clients).values(id=client.id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=[clients.c.id], set_=values))


def find_client(session: Session, *, client_id: str, now: datetime) -> Client | None:
    """The client of that id, unless its registration expired unused."""
    row = session.execute(select(clients).where(clients.c.id == client_id, _is_unexpired(now))).one_or_none()
    return None if row is None else _client(row)


def keep_client(session: Session, *, client_id: str, now: datetime) -> bool:
    """A user agrees to this client: from now on its registration does not expire. False if it is gone already.

    The row stays locked until the transaction ends, so housekeeping cannot remove it in the meantime.
    """
    statement = update(clients).where(clients.c.id == client_id, _is_unexpired(now)).values(expires_at=None)
    return session.execute(statement.returning(clients.c.id)).one_or_none() is not None


def remove_client(session: Session, *, client_id: str) -> bool:
    """Delete a client with its grants, codes and tokens. Returns whether there was one."""
    row = session.execute(delete(clients).where(clients.c.id == client_id).returning(clients.c.id)).one_or_none()
    return row is not None


def _is_unexpired(now: datetime) -> ColumnElement[bool]:
    return or_(clients.c.expires_at.is_(None), clients.c.expires_at > now)


def _values(client: Client) -> dict[str, Any]:
    return {
        "kind": client.kind,
        "name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": list(client.response_types),
        "auth_method": client.auth_method,
        "application_type": client.application_type,
        "scope": client.scope,
        "client_uri": client.client_uri,
        "secret_digest": client.secret_digest,
        "created_at": client.created_at,
        "expires_at": client.expires_at,
    }


def _client(row: Row[Any]) -> Client:
    return Client(
        id=row.id,
        kind=row.kind,
        name=row.name,
        redirect_uris=tuple(row.redirect_uris),
        grant_types=tuple(row.grant_types),
        response_types=tuple(row.response_types),
        auth_method=row.auth_method,
        application_type=row.application_type,
        scope=row.scope,
        client_uri=row.client_uri,
        secret_digest=row.secret_digest,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
