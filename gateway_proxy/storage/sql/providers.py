"""Providers: the LLM APIs of a tenant, with API key and headers sealed."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import KeyUnknown
from gateway_proxy.domain.provider import Provider
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.sealed import RowSeal
from gateway_proxy.storage.sql.tables import providers
from gateway_proxy.storage.sql.upsert import put_definition


def list_providers(session: Session, *, tenant_id: str, keyring: Keyring) -> list[Provider]:
    """List a tenant's providers by name. One that no key opens any more is listed as `unreadable`, beside the others.

    Raises:
        SealBroken: A sealed value was altered or moved.
    """
    statement = select(providers).where(providers.c.tenant_id == tenant_id).order_by(providers.c.name)
    return [_readable_part(row, keyring) for row in session.execute(statement).mappings()]


def find_provider(session: Session, *, tenant_id: str, name: str, keyring: Keyring) -> Provider | None:
    """Find one provider of a tenant.

    Raises:
        KeyUnknown: It is sealed under a key that is not configured.
        SealBroken: A sealed value was altered or moved.
    """
    statement = select(providers).where(providers.c.tenant_id == tenant_id, providers.c.name == name)
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else _provider_of(row, keyring)


def put_provider(session: Session, *, tenant_id: str, provider: Provider, keyring: Keyring, now: datetime) -> Provider:
    """Insert or update a provider by its name; the revision goes up only if something changed. Returns what is stored.

    An update keeps the row's id.
    """
    return put_definition(
        session,
        table=providers,
        tenant_id=tenant_id,
        value=replace(provider, unreadable=False),
        read=lambda row: _readable_part(row, keyring),
        write=lambda value: _values(value, keyring),
        now=now,
    )


def remove_provider(session: Session, *, tenant_id: str, name: str) -> bool:
    """Remove a provider. False if the tenant has none of that name."""
    statement = delete(providers).where(providers.c.tenant_id == tenant_id, providers.c.name == name)
    return session.execute(statement.returning(providers.c.id)).first() is not None


def _values(provider: Provider, keyring: Keyring) -> dict[str, Any]:
    seal = RowSeal(keyring, provider.tenant_id, providers.name, provider.id)
    return {
        "id": provider.id,
        "tenant_id": provider.tenant_id,
        "name": provider.name,
        "kind": provider.kind,
        "origin": provider.origin,
        "revision": provider.revision,
        "base_url": provider.base_url,
        "timeout": provider.timeout,
        "sealed_api_key": seal.seal("api_key", provider.api_key),
        "sealed_headers": seal.seal("headers", dict(provider.default_headers)),
    }


def _readable_part(row: RowMapping, keyring: Keyring) -> Provider:
    try:
        return _provider_of(row, keyring)
    except KeyUnknown:
        return replace(_open_part(row), unreadable=True)


def _provider_of(row: RowMapping, keyring: Keyring) -> Provider:
    seal = RowSeal(keyring, row["tenant_id"], providers.name, row["id"])
    return replace(
        _open_part(row), api_key=seal.open("api_key", row) or "", default_headers=seal.open("headers", row) or {}
    )


def _open_part(row: RowMapping) -> Provider:
    return Provider(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        kind=row["kind"],
        origin=row["origin"],
        revision=row["revision"],
        base_url=row["base_url"],
        timeout=row["timeout"],
    )
