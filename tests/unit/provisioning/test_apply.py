"""Making the database match: on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import Role
from gateway_proxy.provisioning.apply import apply
from gateway_proxy.provisioning.changes import ChangeReport
from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.provisioning.current_state import CurrentTenant, find_current_tenant, find_current_user
from gateway_proxy.provisioning.desired_state import DesiredState
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import audit, backends
from gateway_proxy.storage.sql.assistants import put_assistant
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock

HASHER = PasswordHasher(time_cost=1, memory_kib=64)
CALC = {"command": "python", "args": ["-m", "calc"], "env": {"KEY": "s3cret"}}
ACME: dict[str, Any] = {
    "tenants": {
        "acme": {
            "name": "Acme",
            "mcpServers": {"calc": CALC, "remote": {"url": "https://t.example/mcp", "headers": {"A": "s3cret"}}},
            "providers": {"local": {"base_url": "http://127.0.0.1:1/v1", "api_key": "s3cret"}},
            "assistants": [{"name": "helper", "provider": "local", "model": "m", "mcp_servers": ["calc"]}],
        }
    },
    "users": [{"email": "Ann@x.example", "password": "first password", "tenants": {"acme": "owner"}}],
}


class Place:
    """A database with what applying to it needs."""

    def __init__(self, database: Database, keyring: Keyring, clock: FakeClock) -> None:
        self.database, self.keyring, self.clock = database, keyring, clock

    async def apply(self, document: Mapping[str, Any] | DesiredState, *, dry_run: bool = False) -> ChangeReport:
        desired = document
        if not isinstance(desired, DesiredState):
            desired = read_document(document, {}, folder=Path("/"))
        return await apply(self.database, self.keyring, HASHER, self.clock, desired, dry_run=dry_run)

    async def tenant(self, slug: str = "acme") -> CurrentTenant:
        found = await self.database.read(find_current_tenant, slug=slug, keyring=self.keyring)
        assert found is not None
        return found

    async def add_own_backend(self, tenant_id: str, name: str) -> None:
        """What a tenant's administrator adds through the admin API."""
        backend = Backend(new_id(), tenant_id, name, Transport.AUTO, "tenant", 1, url="https://own.example/mcp")
        await self.database.run(
            backends.put_backend,
            tenant_id=tenant_id,
            backend=backend,
            keyring=self.keyring,
            now=self.clock.now(),
        )


@pytest.fixture
def place(database: Database, keyring: Keyring, clock: FakeClock) -> Place:
    return Place(database, keyring, clock)


def with_acme(**changes: Any) -> dict[str, Any]:
    return {**ACME, "tenants": {"acme": {**ACME["tenants"]["acme"], **changes}}}


async def test_everything_is_added_and_a_second_time_nothing_changes(place: Place) -> None:
    """Contract: apply is idempotent and prints the diff."""
    first = await place.apply(ACME)
    second = await place.apply(ACME)

    assert [str(change) for change in first.changes] == [
        "+ tenant acme",
        "+ backend acme/calc",
        "+ backend acme/remote",
        "+ provider acme/local",
        "+ assistant acme/helper",
        "+ user ann@x.example: password set",
        "+ membership acme/ann@x.example: role owner",
    ]
    assert first.summary() == "7 added, 0 changed, 0 removed."
    assert second.changes == ()
    assert second.summary() == "No changes."
    stored = await place.tenant()
    assert {backend.name: backend.env for backend in stored.backends} == {"calc": {"KEY": "s3cret"}, "remote": {}}
    ann = await place.database.read(find_current_user, email="ann@x.example")
    assert ann is not None
    assert ann.tenants == {"acme": Role.OWNER}
    assert await HASHER.verify(ann.password_hash, "first password")


async def test_what_differs_is_told_and_secrets_are_only_called_changed(place: Place) -> None:
    """Plan of provisioning: secrets are never printed."""
    await place.apply(ACME)

    report = await place.apply(
        with_acme(
            name="Acme Ltd",
            naming={"separator": "."},
            mcpServers={
                "calc": {**CALC, "env": {"KEY": "other s3cret", "MORE": "s3cret"}, "timeout": 60},
                "extra": {"url": "https://e.example/mcp"},
            },
            assistants=[],
            providers={"local": {"base_url": "http://127.0.0.1:2/v1?key=s3cret", "api_key": "changed s3cret"}},
        )
    )

    assert [str(change) for change in report.changes] == [
        "~ tenant acme: name changed, separator __ → .",
        "~ backend acme/calc: env.MORE added, env.KEY changed, timeout 300 → 60",
        "+ backend acme/extra",
        "- backend acme/remote",
        "~ provider acme/local: base_url changed, api_key changed",
        "- assistant acme/helper",
    ]
    assert "s3cret" not in "".join(map(str, report.changes))
    assert [backend.revision for backend in (await place.tenant()).backends if backend.name == "calc"] == [2]


async def test_a_dry_run_tells_the_same_and_writes_nothing(place: Place) -> None:
    """Contract: `apply FILE --dry-run`."""
    told = await place.apply(ACME, dry_run=True)

    assert await place.database.read(find_current_tenant, slug="acme", keyring=place.keyring) is None
    assert await place.database.read(find_current_user, email="ann@x.example") is None
    assert (await place.apply(ACME)).changes == told.changes


async def test_a_tenant_administrator_s_own_rows_and_other_tenants_stay(place: Place) -> None:
    """Plan of provisioning: only rows of origin "operator" in listed tenants are made to match."""
    await place.apply({"tenants": {**ACME["tenants"], "beta": {"mcpServers": {"b": {"command": "x"}}}}})
    await place.add_own_backend((await place.tenant()).tenant.id, "mine")

    report = await place.apply(with_acme(mcpServers={"calc": CALC}))

    assert [str(change) for change in report.changes if change.noun == "backend"] == ["- backend acme/remote"]
    assert [backend.name for backend in (await place.tenant()).backends] == ["calc", "mine"]
    assert [backend.name for backend in (await place.tenant("beta")).backends] == ["b"]


async def test_a_name_that_a_tenant_administrator_took_is_taken_over(place: Place) -> None:
    """A tenant must not be able to keep the operator's configuration from being applied."""
    await place.apply({"tenants": {"acme": {}}})
    await place.add_own_backend((await place.tenant()).tenant.id, "calc")

    report = await place.apply({"tenants": {"acme": {"mcpServers": {"calc": CALC}}}})

    (change,) = report.changes
    assert "origin tenant → operator" in str(change)
    assert [(backend.origin, backend.command) for backend in (await place.tenant()).backends] == [
        ("operator", "python")
    ]


async def test_an_assistant_that_loses_its_provider_to_a_file_is_named(place: Place) -> None:
    """What a tenant's administrators defined stays, and whoever applies the file has to hear what it breaks."""
    await place.apply(ACME)
    tenant = (await place.tenant()).tenant
    own = Assistant(new_id(), tenant.id, "own", "local", "m", 1, origin="tenant")
    await place.database.run(put_assistant, tenant_id=tenant.id, assistant=own, now=place.clock.now())
    assert (await place.apply(ACME)).notices == ()

    for dry_run in (True, False):
        (notice,) = (await place.apply(with_acme(providers={}, assistants=[]), dry_run=dry_run)).notices
        assert notice.startswith(
            "the assistant own of the tenant acme stays and names the provider local, which is not"
        )


async def test_people_are_updated_but_never_removed(place: Place) -> None:
    """Plan of provisioning: memberships of listed users are made to match, passwords change only when they differ."""
    await place.apply({**ACME, "tenants": {**ACME["tenants"], "beta": {}}})
    await place.apply({"tenants": {"beta": {}}, "users": [{"email": "ann@x.example", "tenants": {"beta": "member"}}]})
    before = await place.database.read(find_current_user, email="ann@x.example")
    assert before is not None
    assert before.tenants == {"acme": Role.OWNER, "beta": Role.MEMBER}

    ann = {"email": "ann@x.example", "name": "Ann", "password": "second password", "tenants": {"acme": "admin"}}
    report = await place.apply({"tenants": {"acme": {}, "beta": {}}, "users": [ann]})

    assert [str(change) for change in report.changes if change.noun in ("user", "membership")] == [
        "~ user ann@x.example: name changed, password changed",
        "~ membership acme/ann@x.example: role owner → admin",
        "- membership beta/ann@x.example",
    ]
    after = await place.database.read(find_current_user, email="ann@x.example")
    assert after is not None
    assert (after.user.name, after.tenants) == ("Ann", {"acme": Role.ADMIN})
    assert await HASHER.verify(after.password_hash, "second password")

    await place.apply({"tenants": {"acme": {}}})
    assert await place.database.read(find_current_user, email="ann@x.example") is not None


async def test_what_does_not_fit_what_is_stored_writes_nothing(place: Place) -> None:
    """Plan of provisioning: problems are found before the first write."""
    await place.apply({"tenants": {"acme": {}}})
    await place.add_own_backend((await place.tenant()).tenant.id, "mine")

    with pytest.raises(ConfigFileInvalid) as caught:
        await place.apply(
            {
                "tenants": {"new": {}, "acme": {"naming": {"prefix": "none"}, "mcpServers": {"calc": CALC}}},
                "users": [{"email": "ann@x.example", "tenants": {"new": "owner", "nowhere": "owner"}}],
            }
        )

    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "tenants.acme.naming.prefix",
        "users[0].tenants.nowhere",
    ]
    assert await place.database.read(find_current_tenant, slug="new", keyring=place.keyring) is None


async def test_environment_aliases_only_add(place: Place) -> None:
    """Contract, aliases: an absent variable removes nothing."""
    await place.apply({"mcpServers": {"calc": CALC}})
    desired, _ = desired_state_from_environment({"OPENAI_BASE_URL": "http://127.0.0.1:1234/v1"})

    report = await place.apply(desired)

    assert [str(change) for change in report.changes] == ["+ provider default/default"]
    assert [backend.name for backend in (await place.tenant("default")).backends] == ["calc"]


async def test_two_replicas_that_start_with_one_file_end_with_one_result(place: Place) -> None:
    """Contract: several replicas may run `serve --config` at the same time."""
    reports = await asyncio.gather(*(place.apply(ACME) for _ in range(4)))

    assert sorted(str(change) for report in reports for change in report.changes) == [
        "+ assistant acme/helper",
        "+ backend acme/calc",
        "+ backend acme/remote",
        "+ membership acme/ann@x.example: role owner",
        "+ provider acme/local",
        "+ tenant acme",
        "+ user ann@x.example: password set",
    ]
    assert (await place.apply(ACME)).changes == ()


async def test_every_change_is_in_the_audit_trail(place: Place) -> None:
    """Security A3: administrative changes are recorded, without values."""
    await place.apply(ACME)

    tenant = (await place.tenant()).tenant
    events = await place.database.read(audit.list_audit_events, tenant_id=tenant.id, limit=50)
    assert {event.event for event in events} == {"config.applied"}
    assert {(event.detail["noun"], event.detail["name"]) for event in events} == {
        ("tenant", "acme"),
        ("backend", "calc"),
        ("backend", "remote"),
        ("provider", "local"),
        ("assistant", "helper"),
    }
    assert "s3cret" not in repr(events)


async def test_a_row_that_no_key_opens_is_written_anew(place: Place) -> None:
    """Security F16: a lost key costs only its secrets, and the file puts them back."""
    await place.apply(ACME)
    stranger = Place(place.database, Keyring(["another key that is long enough 0002"]), place.clock)

    report = await stranger.apply(ACME)

    assert {change.name for change in report.changes} == {"calc", "remote", "local"}
    assert (await stranger.apply(ACME)).changes == ()
    assert (await stranger.tenant()).backends[0].env == {"KEY": "s3cret"}


def test_a_desired_state_does_not_show_its_secrets() -> None:
    """Security A1: a value in a log line or a traceback."""
    desired = read_document(ACME, {}, folder=Path("/"))

    assert "s3cret" not in repr(desired)
    assert "first password" not in repr(desired)
