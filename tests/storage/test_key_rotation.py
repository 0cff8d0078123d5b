"""Rotating the secret keys: everything sealed anew, nothing set back, what is lost named; on both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import backends, key_probes, key_rotation, providers
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.key_rotation import rotate
from gateway_proxy.storage.sql.resealing import count_sealed, list_foreign
from tests.storage.test_definitions import a_backend, a_provider
from tests.support.clock import START
from tests.support.factories import make_tenant
from tests.support.postgres import run_aside

NEW = Keyring(["another-key-for-tests-that-is-long-0002"])
BOTH = Keyring(["another-key-for-tests-that-is-long-0002", "a-key-for-tests-that-is-long-enough-0001"])


async def put(database: Database, tenant: Tenant, name: str, keyring: Keyring, **changes: Any) -> None:
    """Store a backend, which has four sealed values."""
    backend = replace(a_backend(tenant.id, name), **changes)
    await database.run(backends.put_backend, tenant_id=tenant.id, backend=backend, keyring=keyring, now=START)


async def fill(database: Database, keyring: Keyring, *, number: int = 3) -> Tenant:
    """A tenant with something in every sealed column."""
    acme = await make_tenant(database, "acme")
    for each in range(number):
        await put(database, acme, f"b{each}", keyring)
    provider = replace(a_provider(acme.id), default_headers={"X-Key": "header-secret"})
    await database.run(providers.put_provider, tenant_id=acme.id, provider=provider, keyring=keyring, now=START)
    settings = Apiman("trusted_header", header="X-Gw", secret="apiman-header-secret")
    await database.run(key_probes.put_key_probe, tenant_id=acme.id, settings=settings, keyring=keyring, now=START)
    return acme


async def everything(database: Database, tenant: Tenant, keyring: Keyring) -> object:
    """Every sealed value of a tenant, opened."""
    return (
        await database.read(backends.list_backends, tenant_id=tenant.id, keyring=keyring),
        await database.read(providers.list_providers, tenant_id=tenant.id, keyring=keyring),
        await database.read(key_probes.find_key_probe, tenant_id=tenant.id, keyring=keyring),
    )


async def test_rotation_seals_every_value_anew_and_the_old_key_can_go(database: Database, keyring: Keyring) -> None:
    """Security K2, O1: the values, revisions and rows stay what they were."""
    acme = await fill(database, keyring)
    before = await everything(database, acme, keyring)

    done = await rotate(database, BOTH)

    assert [(table.table, table.resealed, table.left) for table in done] == [
        ("backends", 12, 0),
        ("providers", 2, 0),
        ("key_probes", 1, 0),
    ]
    assert {key_id for _, key_id in await database.read(count_sealed)} == {NEW.key_ids[0]}
    assert await everything(database, acme, NEW) == before
    assert [table.resealed for table in await rotate(database, BOTH)] == [0, 0, 0]


async def test_a_rotation_that_was_stopped_goes_on(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security K2: small transactions, resumable; every value opens meanwhile."""
    acme = await fill(database, keyring, number=7)
    before = await everything(database, acme, keyring)
    monkeypatch.setattr(key_rotation, "PAGE", 2)

    def stop(rows: int) -> None:
        if rows == 5:
            raise StorageUnavailable

    with pytest.raises(StorageUnavailable):
        await rotate(database, BOTH, tell=stop)

    assert await database.read(count_sealed) == {
        ("backends", NEW.key_ids[0]): 20,
        ("backends", keyring.key_ids[0]): 8,
        ("providers", keyring.key_ids[0]): 2,
        ("key_probes", keyring.key_ids[0]): 1,
    }
    assert await everything(database, acme, BOTH) == before
    assert [table.resealed for table in await rotate(database, BOTH)] == [8, 2, 1]
    assert await everything(database, acme, NEW) == before


async def test_edits_during_a_rotation_are_not_set_back(database: Database, keyring: Keyring) -> None:
    """Security F16: rotate under load."""
    acme = await fill(database, keyring, number=10)

    async def edit(number: int) -> None:
        await put(database, acme, f"b{number}", BOTH, env={"N": f"edited-{number}"})

    await asyncio.gather(rotate(database, BOTH), *(edit(number) for number in range(10)))
    await rotate(database, BOTH)

    listed = await database.read(backends.list_backends, tenant_id=acme.id, keyring=NEW)
    assert [backend.env for backend in listed] == [{"N": f"edited-{number}"} for number in range(10)]


async def test_what_a_gateway_with_the_old_key_writes_meanwhile_is_counted(
    database: Database, database_url: str, keyring: Keyring
) -> None:
    """Security F16: an old key that is still in use is said, so that nobody takes it away."""
    acme = await fill(database, keyring)

    async def write() -> None:
        other = Database(database_url)
        await put(other, acme, "late", keyring, id="0" * 32)  # before the place where the rotation is
        await other.close()

    def meanwhile(rows: int) -> None:
        if rows == 1:
            run_aside(write())

    first = await rotate(database, BOTH, tell=meanwhile)
    again = await rotate(database, BOTH)

    assert [table.left for table in first] == [1, 0, 0]
    assert [table.resealed for table in again] == [4, 0, 0]
    assert [table.left for table in again] == [0, 0, 0]


async def test_what_no_key_opens_is_named_and_the_rest_is_done(database: Database, keyring: Keyring) -> None:
    """Security F16: lost key: only those secrets fail, named; never the value."""
    lost = Keyring(["a-key-that-was-lost-and-is-gone-forever-03"])
    acme = await fill(database, keyring)
    await put(database, acme, "lost", lost)
    await database.run(
        lambda session: session.execute(text("UPDATE backends SET sealed_env = sealed_headers WHERE name = 'b1'"))
    )

    done = await rotate(database, BOTH)
    named = [str(entry) for table in done for entry in table.unreadable]

    assert [table.resealed for table in done] == [11, 2, 1]
    assert sorted(named) == [
        "backends acme/b1: env was altered or moved, and cannot be opened",
        *(
            f"backends acme/lost: {column} is sealed under key {lost.key_ids[0]}, which is not in GATEWAY_SECRET_KEYS"
            for column in ("args", "env", "headers", "url")
        ),
    ]
    assert [table.left for table in done] == [0, 0, 0]
    foreign = await database.read(list_foreign, keyring=BOTH, limit=3)
    assert [(entry.row.name, entry.key_id) for entry in foreign] == [("lost", lost.key_ids[0])] * 3


async def test_definitions_whose_secrets_are_lost_can_be_removed(database: Database, keyring: Keyring) -> None:
    """Security F16: a way back when every copy of a key is gone."""
    acme = await fill(database, keyring)
    await put(database, acme, "kept", NEW)

    done = await rotate(database, NEW, removes_unreadable=True)

    assert [len(table.removed) for table in done] == [3, 1, 1]
    assert not any(table.unreadable for table in done)
    listed = await database.read(backends.list_backends, tenant_id=acme.id, keyring=NEW)
    assert [backend.name for backend in listed] == ["kept"]
