"""Grants at rest: what covers what, whose they are, and what ends with them; on both databases."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.oauth import Grant, TokenFamily
from gateway_proxy.domain.tenant import Tenant, User
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import add_grant, find_covering_grant, list_grants, revoke_grant
from gateway_proxy.storage.sql.tokens import add_family, lock_family
from tests.support.clock import START
from tests.support.factories import add_client, make_tenant, make_user

LATER = START + timedelta(minutes=1)


class World:
    """A tenant, a user, a client and a grant."""

    tenant: Tenant
    user: User
    grant: Grant


@pytest.fixture
async def world(database: Database) -> World:
    """One recorded consent."""
    world = World()
    world.tenant = await make_tenant(database)
    world.user = await make_user(database, member_of=[world.tenant])
    client_id = await database.run(_client)
    world.grant = Grant(
        id=new_id(),
        tenant_id=world.tenant.id,
        user_id=world.user.id,
        client_id=client_id,
        redirect_host="client.example",
        scope="mcp openai",
        created_at=START,
        revoked_at=None,
    )
    await database.run(add_grant, grant=world.grant)
    return world


def _client(session: Session) -> str:
    return add_client(session)


async def _covering(database: Database, grant: Grant, *scope: str) -> Grant | None:
    return await database.read(
        find_covering_grant,
        tenant_id=grant.tenant_id,
        user_id=grant.user_id,
        client_id=grant.client_id,
        redirect_host=grant.redirect_host,
        scope=frozenset(scope),
    )


async def test_a_grant_covers_its_scopes_and_any_part_of_them(database: Database, world: World) -> None:
    """Security B4."""
    assert await _covering(database, world.grant, "mcp", "openai") == world.grant
    assert await _covering(database, world.grant, "openai") == world.grant
    assert await _covering(database, world.grant, "mcp", "offline_access") is None


@pytest.mark.parametrize("field", ["tenant_id", "user_id", "client_id", "redirect_host"])
async def test_a_grant_covers_nobody_and_nothing_else(database: Database, world: World, field: str) -> None:
    """Security B4, T2: user, client, redirect host and tenant must be the same."""
    changes: dict[str, Any] = {field: "another"}
    other = replace(world.grant, **changes)
    assert await _covering(database, other, "mcp") is None


async def test_a_revoked_grant_takes_its_families_with_it(database: Database, world: World) -> None:
    """Account page: taking consent back ends what came from it, once."""
    grant = world.grant
    family = TokenFamily(
        id=new_id(),
        tenant_id=grant.tenant_id,
        user_id=grant.user_id,
        client_id=grant.client_id,
        grant_id=grant.id,
        scope="mcp",
        resource="https://gw.example/mcp",
        generation=1,
        created_at=START,
        revoked_at=None,
    )
    await database.run(add_family, family=family)
    owner = {"tenant_id": grant.tenant_id, "user_id": grant.user_id}
    assert [(kept.id, name) for kept, name in await database.read(list_grants, **owner)] == [(grant.id, "A client")]

    assert await database.run(revoke_grant, **owner, grant_id=grant.id, now=LATER)

    assert await database.read(list_grants, **owner) == []
    assert await _covering(database, grant, "mcp") is None
    ended = await database.run(lock_family, tenant_id=grant.tenant_id, family_id=family.id)
    assert ended is not None
    assert ended.revoked_at == LATER
    assert not await database.run(revoke_grant, **owner, grant_id=grant.id, now=LATER)


async def test_a_grant_of_another_tenant_or_user_cannot_be_revoked(database: Database, world: World) -> None:
    """Security T2, T4."""
    grant = world.grant
    other = await make_tenant(database)
    stranger = await make_user(database, member_of=[other])
    for tenant_id, user_id in ((other.id, grant.user_id), (grant.tenant_id, stranger.id)):
        assert not await database.run(revoke_grant, tenant_id=tenant_id, user_id=user_id, grant_id=grant.id, now=LATER)
    assert await _covering(database, grant, "mcp") == grant
