"""Backends, providers and assistants: written by name, counted by revision, kept apart by tenant; on both databases."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.provider import Provider
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import assistants, backends, providers
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START
from tests.support.factories import HOUR, make_tenant

T = TypeVar("T", Backend, Provider, Assistant)


def a_backend(tenant_id: str, name: str = "calc") -> Backend:
    """A backend that uses every field."""
    return Backend(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        transport=Transport.STDIO,
        origin="operator",
        revision=0,
        url="https://example.com/mcp?key=k",
        command="python",
        args=("./calc.py", "--token", "t"),
        cwd="/srv",
        env={"A": "b", "Ü": "\u2028"},
        headers={"Authorization": "Bearer x"},
        isolation="session",
        timeout=12.5,
        start_timeout=90.0,
        encoding="latin-1",
        encoding_error_handler="replace",
        enabled=False,
    )


def a_provider(tenant_id: str, name: str = "local") -> Provider:
    """A provider that uses every field."""
    return Provider(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        kind="anthropic",
        origin="tenant",
        revision=0,
        base_url="https://api.example.com/v1",
        api_key="sk-live",
        default_headers={"X-Org": "acme"},
        timeout=30.0,
    )


def an_assistant(tenant_id: str, name: str = "research") -> Assistant:
    """An assistant that uses every field."""
    return Assistant(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        provider="local",
        model="gpt-4o",
        revision=0,
        description="Finds things",
        system_prompt="You find things.",
        mcp_servers=("calc", "time"),
        max_tool_iterations=3,
        temperature=0.2,
        top_p=0.9,
        max_tokens=100,
        extra_body={"seed": 1, "nested": {"a": [1, None]}},
        options={"progress": "reasoning"},
        origin="tenant",
    )


@dataclass(frozen=True)
class Kind:
    """One kind of definition and the functions on it."""

    make: Callable[..., Any]
    noun: str
    module: Any
    needs_keyring: bool
    change: Mapping[str, Any]


KINDS = [
    Kind(a_backend, "backend", backends, True, {"env": {"A": "c"}}),
    Kind(a_provider, "provider", providers, True, {"api_key": "sk-other"}),
    Kind(an_assistant, "assistant", assistants, False, {"options": {"progress": "off"}}),
]


class Store:
    """The four functions of one kind on one database."""

    def __init__(self, kind: Kind, database: Database, keyring: Keyring) -> None:
        self._kind = kind
        self._database = database
        self._keyring = {"keyring": keyring} if kind.needs_keyring else {}

    def make(self, tenant_id: str, *name: str) -> Any:
        return self._kind.make(tenant_id, *name)

    def changed(self, value: Any) -> Any:
        return replace(value, **self._kind.change)

    async def put(self, value: Any, **more: Any) -> Any:
        put = getattr(self._kind.module, f"put_{self._kind.noun}")
        arguments = {"tenant_id": value.tenant_id, self._kind.noun: value, "now": START, **self._keyring, **more}
        return await self._database.run(put, **arguments)

    async def find(self, tenant_id: str, name: str) -> Any:
        find = getattr(self._kind.module, f"find_{self._kind.noun}")
        return await self._database.read(find, tenant_id=tenant_id, name=name, **self._keyring)

    async def list(self, tenant_id: str) -> Any:
        listed = getattr(self._kind.module, f"list_{self._kind.noun}s")
        return await self._database.read(listed, tenant_id=tenant_id, **self._keyring)

    async def remove(self, tenant_id: str, name: str) -> Any:
        remove = getattr(self._kind.module, f"remove_{self._kind.noun}")
        return await self._database.run(remove, tenant_id=tenant_id, name=name)


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.noun))
def store(request: pytest.FixtureRequest, database: Database, keyring: Keyring) -> Store:
    """Each kind in turn."""
    return Store(request.param, database, keyring)


async def test_every_field_comes_back_as_it_was_written(store: Store, database: Database) -> None:
    """Contract, configuration file: nothing is lost."""
    acme = await make_tenant(database)
    written = await store.put(store.make(acme.id))
    assert written == replace(store.make(acme.id), id=written.id, revision=1)
    assert await store.find(acme.id, written.name) == written
    assert await store.list(acme.id) == [written]


async def test_definitions_are_listed_by_name(store: Store, database: Database) -> None:
    """Relay 7: deterministic order."""
    acme = await make_tenant(database)
    for name in ("b", "a", "c"):
        await store.put(store.make(acme.id, name))
    assert [value.name for value in await store.list(acme.id)] == ["a", "b", "c"]


async def test_the_revision_counts_changes_and_the_id_stays(store: Store, database: Database) -> None:
    """Domain, Backend: whatever is cached for an older revision is stale, and only that."""
    acme = await make_tenant(database)
    first = await store.put(store.make(acme.id))
    again = await store.put(store.make(acme.id), now=START + HOUR)
    assert again == first
    changed = await store.put(store.changed(store.make(acme.id)))
    assert changed == replace(store.changed(first), revision=2)
    assert await store.find(acme.id, first.name) == changed


async def test_a_foreign_definition_is_the_same_as_none(store: Store, database: Database) -> None:
    """Security T2: every query is bound to a tenant."""
    acme, beta = await make_tenant(database), await make_tenant(database)
    mine = await store.put(store.make(acme.id))
    assert await store.find(beta.id, mine.name) is None
    assert await store.list(beta.id) == []
    assert not await store.remove(beta.id, mine.name)
    theirs = await store.put(store.changed(store.make(beta.id)))
    assert theirs.id != mine.id
    assert await store.find(acme.id, mine.name) == mine
    with pytest.raises(ValueError, match="another tenant"):
        await store.put(store.make(acme.id), tenant_id=beta.id)


async def test_a_removed_definition_is_gone_and_starts_anew(store: Store, database: Database) -> None:
    """Contract, apply: idempotent."""
    acme = await make_tenant(database)
    first = await store.put(store.make(acme.id))
    assert await store.remove(acme.id, first.name)
    assert not await store.remove(acme.id, first.name)
    assert await store.find(acme.id, first.name) is None
    second = await store.put(store.make(acme.id))
    assert (second.revision, second.id != first.id) == (1, True)


async def test_of_many_that_write_one_name_at_once_one_inserts_and_the_others_update(
    store: Store, database: Database
) -> None:
    """Issue 2: concurrency on both databases; no duplicate and no error."""
    acme = await make_tenant(database)
    values = [store.make(acme.id) for _ in range(8)]
    written = await asyncio.gather(*(store.put(value) for value in values))
    assert len({value.id for value in written}) == 1
    assert {value.revision for value in written} == {1}
    changes = await asyncio.gather(
        *(store.put(replace(value, id=new_id(), **{OPEN[value.__class__]: f"v{n}"})) for n, value in enumerate(values))
    )
    assert sorted(value.revision for value in changes) == list(range(2, 10))


OPEN: dict[type, str] = {Backend: "command", Provider: "base_url", Assistant: "model"}


async def test_an_assistant_over_every_backend_stays_one(database: Database) -> None:
    """Domain, Assistant: None is every backend, empty is none."""
    acme = await make_tenant(database)
    for name, servers in (("all", None), ("none", ())):
        wide = replace(an_assistant(acme.id, name), mcp_servers=servers)
        await database.run(assistants.put_assistant, tenant_id=acme.id, assistant=wide, now=START)
        found = await database.read(assistants.find_assistant, tenant_id=acme.id, name=name)
        assert found is not None
        assert found.mcp_servers == servers
