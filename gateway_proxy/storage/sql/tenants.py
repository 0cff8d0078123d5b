"""Tenants: the rows that everything else of a team hangs on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.tenant import Naming, Tenant
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.tables import tenants


def add_tenant(session: Session, *, tenant: Tenant, now: datetime) -> None:
    """Add a tenant.

    Raises:
        AlreadyExists: The slug is taken.
    """
    with naming_duplicates("tenant", tenant.slug):
        session.execute(insert(tenants).values(id=tenant.id, created_at=now, **_values(tenant)))


def update_tenant(session: Session, *, tenant: Tenant) -> None:
    """Change slug, name and naming of the tenant with this id.

    Raises:
        NotFound: No such tenant.
        AlreadyExists: The slug is taken.
    """
    with naming_duplicates("tenant", tenant.slug):
        changed = session.execute(
            update(tenants).where(tenants.c.id == tenant.id).values(**_values(tenant)).returning(tenants.c.id)
        )
    if changed.first() is None:
        raise NotFound("tenant", tenant.slug)


def remove_tenant(session: Session, *, tenant_id: str) -> bool:
    """Remove a tenant and everything that belongs to it; the audit trail stays. False if there is none."""
    removed = session.execute(delete(tenants).where(tenants.c.id == tenant_id).returning(tenants.c.id))
    return removed.first() is not None


def find_tenant(session: Session, *, tenant_id: str) -> Tenant | None:
    """Find a tenant by its id."""
    return _find(session, tenants.c.id == tenant_id)


def lock_tenant(session: Session, *, tenant_id: str) -> Tenant | None:
    """Find a tenant and hold it to the end of the transaction, so that edits that must see each other take turns."""
    held = select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update()
    return None if session.execute(held).first() is None else find_tenant(session, tenant_id=tenant_id)


def find_tenant_by_slug(session: Session, *, slug: str) -> Tenant | None:
    """Find a tenant by its key in the configuration file."""
    return _find(session, tenants.c.slug == slug)


def list_tenants(session: Session) -> list[Tenant]:
    """List every tenant, by slug. For the operator only."""
    rows = session.execute(select(*tenant_columns()).order_by(tenants.c.slug)).mappings()
    return [tenant_of(row) for row in rows]


def tenant_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns that `tenant_of` reads, under names that clash with nothing they are joined to."""
    return (
        tenants.c.id.label("tenant_id"),
        tenants.c.slug.label("tenant_slug"),
        tenants.c.name.label("tenant_name"),
        tenants.c.naming_prefix,
        tenants.c.naming_separator,
    )


def tenant_of(row: Mapping[Any, Any]) -> Tenant:
    """A tenant from a row that holds `tenant_columns`."""
    naming = Naming(prefix=row["naming_prefix"], separator=row["naming_separator"])
    return Tenant(id=row["tenant_id"], slug=row["tenant_slug"], name=row["tenant_name"], naming=naming)


def _find(session: Session, condition: ColumnElement[bool]) -> Tenant | None:
    row = session.execute(select(*tenant_columns()).where(condition)).mappings().one_or_none()
    return None if row is None else tenant_of(row)


def _values(tenant: Tenant) -> dict[str, Any]:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "naming_prefix": tenant.naming.prefix,
        "naming_separator": tenant.naming.separator,
    }
