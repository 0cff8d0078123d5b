"""What the platform key defined and a configuration file meet: on SQLite and PostgreSQL."""

from dataclasses import replace

import pytest

from gateway_proxy.domain.backend import Backend, Origin, Transport
from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.domain.ids import new_id
from gateway_proxy.provisioning.export import export_state
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import backends
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.unit.provisioning.test_apply import ACME, Place, with_acme


@pytest.fixture
def place(database: Database, keyring: Keyring, clock: FakeClock) -> Place:
    return Place(database, keyring, clock)


async def add(place: Place, name: str, origin: Origin = "platform") -> None:
    """What is added over HTTP."""
    tenant = (await place.tenant()).tenant
    backend = Backend(new_id(), tenant.id, name, Transport.STDIO, origin, 1, command="python")
    await place.database.run(
        backends.put_backend, tenant_id=tenant.id, backend=backend, keyring=place.keyring, now=place.clock.now()
    )


async def test_applying_a_file_keeps_what_the_platform_key_added(place: Place) -> None:
    """D11: changes are live at once, and here also kept."""
    await place.apply(ACME)
    await add(place, "extra")
    assert not await place.apply(ACME)
    assert [backend.name for backend in (await place.tenant()).backends] == ["calc", "extra", "remote"]
    export = export_state([await place.tenant()], [])
    assert list(export.document["tenants"]["acme"]["mcpServers"]) == ["calc", "remote"]


async def test_a_file_takes_over_a_name_that_it_lists(place: Place) -> None:
    """From then on it goes when the file no longer has it."""
    await place.apply(ACME)
    await add(place, "calc")
    await place.apply(ACME)
    calc = next(backend for backend in (await place.tenant()).backends if backend.name == "calc")
    assert calc.origin == "operator"
    await place.apply(with_acme(mcpServers={}, assistants=[]))
    assert (await place.tenant()).backends == ()


async def test_prefix_none_counts_what_the_platform_key_added(place: Place) -> None:
    """Contract, Names of tools: with two backends it is a configuration error."""
    await place.apply(ACME)
    await add(place, "extra")
    alone = with_acme(naming={"prefix": "none"}, mcpServers={"calc": {"command": "python"}}, assistants=[])
    with pytest.raises(ConfigFileInvalid, match="there would be 2"):
        await place.apply(alone)


async def test_an_update_over_http_changes_the_origin(place: Place) -> None:
    """Whoever wrote it last answers for it."""
    await place.apply(ACME)
    before = next(backend for backend in (await place.tenant()).backends if backend.name == "calc")
    await add(place, "calc", "platform")
    after = next(backend for backend in (await place.tenant()).backends if backend.name == "calc")
    assert (after.id, after.origin, after.revision) == (before.id, "platform", before.revision + 1)
    assert replace(after, id="", revision=0).args == ()
