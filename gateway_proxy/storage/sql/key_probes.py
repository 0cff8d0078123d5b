"""How a tenant's Apiman vouches for keys: one sealed row per tenant, because a trusted header's secret is among it."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import KeyUnknown, SealBroken
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.sealed import RowSeal
from gateway_proxy.storage.sql.tables import key_probes, tenants
from gateway_proxy.storage.sql.tenants import tenant_columns, tenant_of


def find_key_probe(session: Session, *, tenant_id: str, keyring: Keyring) -> Apiman | None:
    """Find a tenant's settings.

    Raises:
        KeyUnknown: They are sealed under a key that is not configured.
        SealBroken: They were altered or moved.
    """
    row = session.execute(select(key_probes).where(key_probes.c.tenant_id == tenant_id)).mappings().one_or_none()
    return None if row is None else _settings_of(row, row["id"], tenant_id, keyring)


def list_every_key_probe(session: Session, *, keyring: Keyring) -> tuple[list[tuple[Apiman, Tenant]], list[Tenant]]:
    """List the settings of all tenants by slug, and the tenants whose settings do not open: those let nobody in."""
    probe_id = key_probes.c.id.label("probe_id")
    statement = (
        select(probe_id, key_probes.c.sealed_settings, *tenant_columns())
        .select_from(key_probes.join(tenants, tenants.c.id == key_probes.c.tenant_id))
        .order_by(tenants.c.slug)
    )
    found: list[tuple[Apiman, Tenant]] = []
    unreadable: list[Tenant] = []
    for row in session.execute(statement).mappings():
        tenant = tenant_of(row)
        try:
            found.append((_settings_of(row, row["probe_id"], tenant.id, keyring), tenant))
        except (KeyUnknown, SealBroken):
            unreadable.append(tenant)
    return found, unreadable


def put_key_probe(session: Session, *, tenant_id: str, settings: Apiman, keyring: Keyring, now: datetime) -> None:
    """Insert or replace a tenant's settings.

    Raises:
        AlreadyExists: Another writer was first; look again.
    """
    row_id = session.execute(select(key_probes.c.id).where(key_probes.c.tenant_id == tenant_id)).scalar()
    if row_id is not None:
        sealed = RowSeal(keyring, tenant_id, key_probes.name, row_id).seal("settings", asdict(settings))
        change = update(key_probes).where(key_probes.c.tenant_id == tenant_id)
        session.execute(change.values(sealed_settings=sealed, updated_at=now))
        return
    row_id = new_id()
    sealed = RowSeal(keyring, tenant_id, key_probes.name, row_id).seal("settings", asdict(settings))
    with naming_duplicates("key probe", tenant_id):
        session.execute(
            insert(key_probes).values(
                id=row_id, tenant_id=tenant_id, sealed_settings=sealed, created_at=now, updated_at=now
            )
        )


def remove_key_probe(session: Session, *, tenant_id: str) -> bool:
    """Remove a tenant's settings. False if it has none."""
    statement = delete(key_probes).where(key_probes.c.tenant_id == tenant_id).returning(key_probes.c.id)
    return session.execute(statement).first() is not None


def _settings_of(row: RowMapping, row_id: str, tenant_id: str, keyring: Keyring) -> Apiman:
    return Apiman(**RowSeal(keyring, tenant_id, key_probes.name, row_id).open("settings", row))
