"""Credentials at rest: nothing readable in a dump, nothing that opens elsewhere, keys that change; on both."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Column, LargeBinary, Table, select, text, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import KeyUnknown, SealBroken
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import backends, key_probes, providers, static_keys
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.resealing import count_sealed
from gateway_proxy.storage.sql.sealed import SEALED_COLUMNS
from gateway_proxy.storage.sql.tables import metadata
from tests.storage.test_definitions import a_backend, a_provider
from tests.support.clock import START
from tests.support.factories import make_access_token, make_personal_token, make_tenant, make_user

NEW = Keyring(["another-key-for-tests-that-is-long-0002"])


async def put(database: Database, backend: Backend, keyring: Keyring) -> Backend:
    """Store a backend."""
    return await database.run(
        backends.put_backend, tenant_id=backend.tenant_id, backend=backend, keyring=keyring, now=START
    )


async def names(database: Database, tenant_id: str, keyring: Keyring) -> Sequence[tuple[str, bool]]:
    """What is listed, and whether it can be read."""
    listed = await database.read(backends.list_backends, tenant_id=tenant_id, keyring=keyring)
    return [(backend.name, not backend.unreadable) for backend in listed]


def dump(session: Session) -> bytes:
    """Everything that the database holds, as somebody with a copy of it would see it."""
    content = bytearray()
    for table in metadata.sorted_tables:
        for row in session.execute(text(f'SELECT * FROM "{table.name}"')):
            for value in row:
                content += bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                content += b"\n"
    return bytes(content)


async def test_a_dump_holds_no_token_and_no_credential(database: Database, keyring: Keyring) -> None:
    """Issue 2: a database dump holds no plaintext token, code, password or credential."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    secrets = [
        await make_access_token(database, tenant=acme, user=ann),
        await make_personal_token(database, tenant=acme, user=ann),
    ]
    await put(
        database,
        replace(
            a_backend(acme.id),
            url="https://user:url-secret@example.com/mcp?key=query-secret",
            args=("--token", "argument-secret"),
            env={"KEY": "environment-secret"},
            headers={"Authorization": "Bearer header-secret"},
        ),
        keyring,
    )
    provider = replace(a_provider(acme.id), api_key="key-secret", default_headers={"X": "default-header-secret"})
    await database.run(providers.put_provider, tenant_id=acme.id, provider=provider, keyring=keyring, now=START)
    await put_apiman(database, acme.id, keyring)
    key = StaticKey(new_id(), acme.id, "bob", KeyDigests(keyring).current("static-key-secret"))
    await database.run(static_keys.add_static_key, tenant_id=acme.id, key=key, now=START)
    content = await database.read(dump)
    assert acme.slug.encode() in content
    assert b"-secret" not in content
    assert digest_of("static-key-secret") not in content
    for secret in secrets:
        assert secret.encode() not in content
        assert secret.encode()[6:] not in content


def test_every_sealed_column_of_the_schema_is_rotated() -> None:
    """Security K2: a new sealed column cannot be forgotten. Grace copies are sealed under the presented secret."""
    sealed = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.startswith("sealed_")
    }
    assert sealed - {"refresh_tokens.sealed_response"} == {
        f"{column.table.name}.{column.name}" for column in SEALED_COLUMNS
    }


@pytest.mark.parametrize("column", [column for column in SEALED_COLUMNS if "name" in column.table.c], ids=str)
async def test_a_ciphertext_moved_to_another_row_or_tenant_does_not_open(
    database: Database, keyring: Keyring, column: Column[Any]
) -> None:
    """Security K1: bound to tenant, table, column and row."""
    table, name = column.table, column.name
    acme, beta = await make_tenant(database), await make_tenant(database)
    for tenant, called in ((acme, "one"), (acme, "two"), (beta, "one")):
        await put(database, a_backend(tenant.id, called), keyring)
        provider = a_provider(tenant.id, called)
        await database.run(providers.put_provider, tenant_id=tenant.id, provider=provider, keyring=keyring, now=START)

    def copy(session: Session, *, victim_id: str) -> None:
        mine = (table.c.tenant_id == acme.id) & (table.c.name == "one")
        other = (table.c.tenant_id == victim_id) & (table.c.name == ("two" if victim_id == acme.id else "one"))
        value = session.scalar(select(table.c[name]).where(mine))
        session.execute(update(table).where(other).values({name: value}))

    for victim, called in ((acme, "two"), (beta, "one")):
        await database.run(copy, victim_id=victim.id)
        with pytest.raises(SealBroken):
            await find(database, table, victim.id, called, keyring)
    assert await find(database, table, acme.id, "one", keyring) is not None


async def test_apiman_settings_moved_to_another_tenant_do_not_open(database: Database, keyring: Keyring) -> None:
    """Security K1; compatibility D14: they let nobody in, and those of other tenants go on."""
    acme, beta = await make_tenant(database), await make_tenant(database)
    await put_apiman(database, acme.id, keyring)
    await put_apiman(database, beta.id, keyring)
    table = metadata.tables["key_probes"]

    def copy(session: Session) -> None:
        value = session.scalar(select(table.c.sealed_settings).where(table.c.tenant_id == acme.id))
        session.execute(update(table).where(table.c.tenant_id == beta.id).values(sealed_settings=value))

    await database.run(copy)
    with pytest.raises(SealBroken):
        await database.read(key_probes.find_key_probe, tenant_id=beta.id, keyring=keyring)
    found, unreadable = await database.read(key_probes.list_every_key_probe, keyring=keyring)
    assert ([tenant for _, tenant in found], unreadable) == ([acme], [beta])


async def put_apiman(database: Database, tenant_id: str, keyring: Keyring) -> None:
    """Settings with a secret."""
    settings = Apiman("trusted_header", header="X-Gw", secret="apiman-header-secret")
    place: dict[str, Any] = {"tenant_id": tenant_id, "keyring": keyring, "now": START}
    await database.run(key_probes.put_key_probe, settings=settings, **place)


async def find(database: Database, table: Table, tenant_id: str, name: str, keyring: Keyring) -> object:
    """A backend or a provider, by its table."""
    if table.name == "backends":
        return await database.read(backends.find_backend, tenant_id=tenant_id, name=name, keyring=keyring)
    return await database.read(providers.find_provider, tenant_id=tenant_id, name=name, keyring=keyring)


async def test_a_ciphertext_moved_to_another_column_does_not_open(database: Database, keyring: Keyring) -> None:
    """Security K1."""
    acme = await make_tenant(database)
    await put(database, a_backend(acme.id), keyring)
    await database.run(lambda s: s.execute(text("UPDATE backends SET sealed_env = sealed_headers")))
    with pytest.raises(SealBroken):
        await database.read(backends.list_backends, tenant_id=acme.id, keyring=keyring)


async def test_a_lost_key_makes_only_its_own_definitions_unreadable(database: Database, keyring: Keyring) -> None:
    """Security F16: only those secrets fail, and they are named."""
    acme = await make_tenant(database)
    old = await put(database, a_backend(acme.id, "old"), keyring)
    await put(database, a_backend(acme.id, "young"), NEW)
    assert await names(database, acme.id, NEW) == [("old", False), ("young", True)]
    with pytest.raises(KeyUnknown) as error:
        await find(database, metadata.tables["backends"], acme.id, "old", NEW)
    assert error.value.key_id == keyring.key_ids[0]
    assert await database.read(count_sealed) == {
        ("backends", keyring.key_ids[0]): 4,
        ("backends", NEW.key_ids[0]): 4,
    }
    mended = await put(database, a_backend(acme.id, "old"), NEW)
    assert (mended.id, mended.revision) == (old.id, 2)
    assert await names(database, acme.id, NEW) == [("old", True), ("young", True)]
