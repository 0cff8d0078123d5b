"""Backends: the MCP servers and OpenAPI services of a tenant, with URL, arguments, environment and headers sealed."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.orm import Session

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import KeyUnknown
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.sealed import RowSeal
from gateway_proxy.storage.sql.tables import backends
from gateway_proxy.storage.sql.upsert import put_definition


def list_backends(session: Session, *, tenant_id: str, keyring: Keyring) -> list[Backend]:
    """List a tenant's backends by name. One that no key opens any more is listed as `unreadable`, beside the others.

    Raises:
        SealBroken: A sealed value was altered or moved.
    """
    statement = select(backends).where(backends.c.tenant_id == tenant_id).order_by(backends.c.name)
    return [_readable_part(row, keyring) for row in session.execute(statement).mappings()]


def find_backend(session: Session, *, tenant_id: str, name: str, keyring: Keyring) -> Backend | None:
    """Find one backend of a tenant.

    Raises:
        KeyUnknown: It is sealed under a key that is not configured.
        SealBroken: A sealed value was altered or moved.
    """
    statement = select(backends).where(backends.c.tenant_id == tenant_id, backends.c.name == name)
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else _backend_of(row, keyring)


def put_backend(session: Session, *, tenant_id: str, backend: Backend, keyring: Keyring, now: datetime) -> Backend:
    """Insert or update a backend by its name; the revision goes up only if something changed. Returns what is stored.

    An update keeps the row's id. Names are checked by who lets them in (contract: `^[A-Za-z0-9][A-Za-z0-9-]{0,30}$`).
    """
    return put_definition(
        session,
        table=backends,
        tenant_id=tenant_id,
        value=replace(backend, unreadable=False),
        read=lambda row: _readable_part(row, keyring),
        write=lambda value: _values(value, keyring),
        now=now,
    )


def remove_backend(session: Session, *, tenant_id: str, name: str) -> bool:
    """Remove a backend. False if the tenant has none of that name."""
    statement = delete(backends).where(backends.c.tenant_id == tenant_id, backends.c.name == name)
    return session.execute(statement.returning(backends.c.id)).first() is not None


def _values(backend: Backend, keyring: Keyring) -> dict[str, Any]:
    seal = _seal(keyring, backend.tenant_id, backend.id)
    return {
        "id": backend.id,
        "tenant_id": backend.tenant_id,
        "name": backend.name,
        "transport": backend.transport.value,
        "origin": backend.origin,
        "revision": backend.revision,
        "enabled": backend.enabled,
        "definition": {
            "command": backend.command,
            "base_url": backend.base_url,
            "cwd": backend.cwd,
            "isolation": backend.isolation,
            "timeout": backend.timeout,
            "start_timeout": backend.start_timeout,
            "encoding": backend.encoding,
            "encoding_error_handler": backend.encoding_error_handler,
        },
        "sealed_url": seal.seal("url", backend.url),
        "sealed_args": seal.seal("args", list(backend.args)),
        "sealed_env": seal.seal("env", dict(backend.env)),
        "sealed_headers": seal.seal("headers", dict(backend.headers)),
    }


def _readable_part(row: RowMapping, keyring: Keyring) -> Backend:
    try:
        return _backend_of(row, keyring)
    except KeyUnknown:
        return replace(_open_part(row), unreadable=True)


def _backend_of(row: RowMapping, keyring: Keyring) -> Backend:
    seal = _seal(keyring, row["tenant_id"], row["id"])
    return replace(
        _open_part(row),
        url=seal.open("url", row),
        args=tuple(seal.open("args", row) or ()),
        env=seal.open("env", row) or {},
        headers=seal.open("headers", row) or {},
    )


def _open_part(row: RowMapping) -> Backend:
    """What is stored in the clear. Unknown members of `definition` are left to the version that wrote them."""
    definition = row["definition"]
    return Backend(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        transport=Transport(row["transport"]),
        origin=row["origin"],
        revision=row["revision"],
        enabled=row["enabled"],
        command=definition["command"],
        base_url=definition.get("base_url"),
        cwd=definition["cwd"],
        isolation=definition["isolation"],
        timeout=definition["timeout"],
        start_timeout=definition.get("start_timeout", 60.0),
        encoding=definition["encoding"],
        encoding_error_handler=definition["encoding_error_handler"],
    )


def _seal(keyring: Keyring, tenant_id: str, row_id: str) -> RowSeal:
    return RowSeal(keyring, tenant_id, backends.name, row_id)
