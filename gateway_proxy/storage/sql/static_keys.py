"""Static keys of /v1: their names and keyed digests. The keys themselves are stored nowhere."""

from datetime import datetime

from sqlalchemy import RowMapping, delete, insert, select
from sqlalchemy.orm import Session

from gateway_proxy.domain.outside_keys import StaticKey
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.tables import static_keys, tenants
from gateway_proxy.storage.sql.tenants import tenant_columns, tenant_of


def list_static_keys(session: Session, *, tenant_id: str) -> list[StaticKey]:
    """List a tenant's static keys by name."""
    statement = select(static_keys).where(static_keys.c.tenant_id == tenant_id).order_by(static_keys.c.name)
    return [_key_of(row) for row in session.execute(statement).mappings()]


def list_every_static_key(session: Session) -> list[tuple[StaticKey, Tenant]]:
    """List the static keys of all tenants, each with its own: a request says only the key (security T1)."""
    columns = (static_keys.c.id, static_keys.c.name, static_keys.c.digest)
    labelled = [column.label(f"key_{column.name}") for column in columns]
    owned = static_keys.join(tenants, tenants.c.id == static_keys.c.tenant_id)
    statement = select(*labelled, *tenant_columns()).select_from(owned)
    found = []
    for row in session.execute(statement).mappings():
        tenant = tenant_of(row)
        found.append((StaticKey(row["key_id"], tenant.id, row["key_name"], bytes(row["key_digest"])), tenant))
    return found


def add_static_key(session: Session, *, tenant_id: str, key: StaticKey, now: datetime) -> None:
    """Keep a key's digest.

    Raises:
        AlreadyExists: The tenant has a key of that name, or the key opens another tenant.
    """
    if key.tenant_id != tenant_id:
        raise ValueError(f"static key {key.name!r} belongs to another tenant")
    with naming_duplicates("static key", key.name):
        session.execute(
            insert(static_keys).values(id=key.id, tenant_id=tenant_id, name=key.name, digest=key.digest, created_at=now)
        )


def remove_static_key(session: Session, *, tenant_id: str, name: str) -> bool:
    """Remove a key, which ends its use. False if the tenant has none of that name."""
    statement = delete(static_keys).where(static_keys.c.tenant_id == tenant_id, static_keys.c.name == name)
    return session.execute(statement.returning(static_keys.c.id)).first() is not None


def _key_of(row: RowMapping) -> StaticKey:
    return StaticKey(row["id"], row["tenant_id"], row["name"], bytes(row["digest"]))
