"""Tenants, users, memberships and browser sessions, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway_proxy.domain.errors import AlreadyExists, NotFound
from gateway_proxy.domain.ids import new_id, new_session_id
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Naming, Role, User
from gateway_proxy.storage.sql import browser_sessions, tenants, users
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START
from tests.support.factories import HOUR, make_tenant, make_user


async def test_a_tenant_is_found_by_id_and_by_slug(database: Database) -> None:
    """House, words: Tenant."""
    acme = await make_tenant(database, "acme", naming=Naming(prefix="none", separator="."))
    assert await database.read(tenants.find_tenant, tenant_id=acme.id) == acme
    assert await database.read(tenants.find_tenant_by_slug, slug="acme") == acme
    assert await database.read(tenants.find_tenant_by_slug, slug="Acme") is None
    assert await database.read(tenants.find_tenant, tenant_id=new_id()) is None


async def test_tenants_are_listed_by_slug(database: Database) -> None:
    """Contract, apply: a deterministic order."""
    stored = [await make_tenant(database, slug) for slug in ("b", "a", "c")]
    assert await database.read(tenants.list_tenants) == sorted(stored, key=lambda tenant: tenant.slug)


async def test_a_tenant_can_be_changed_but_not_into_another(database: Database) -> None:
    """Brief: natural keys are unique."""
    acme, other = await make_tenant(database, "acme"), await make_tenant(database, "other")
    changed = replace(acme, name="Acme Ltd", naming=Naming(separator="."))
    await database.run(tenants.update_tenant, tenant=changed)
    assert await database.read(tenants.find_tenant, tenant_id=acme.id) == changed
    with pytest.raises(AlreadyExists):
        await database.run(tenants.update_tenant, tenant=replace(acme, slug=other.slug))
    with pytest.raises(NotFound):
        await database.run(tenants.update_tenant, tenant=replace(acme, id=new_id(), slug="third"))


async def test_a_removed_tenant_takes_its_memberships_with_it(database: Database) -> None:
    """Security T1: nothing is left to act in."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    assert await database.run(tenants.remove_tenant, tenant_id=acme.id)
    assert not await database.run(tenants.remove_tenant, tenant_id=acme.id)
    assert await database.read(users.list_memberships, user_id=ann.id) == []
    assert await database.read(users.find_user, user_id=ann.id) == ann


async def test_addresses_are_kept_and_found_in_lower_case(database: Database) -> None:
    """Domain, User: `email` is stored lower-cased."""
    user = User(id=new_id(), email="Ann@Example.COM", name="Ann")
    await database.run(users.add_user, user=user, password_hash="hash", now=START)
    stored = replace(user, email="ann@example.com")
    assert await database.read(users.find_user_by_email, email="ANN@example.com") == stored
    assert await database.read(users.find_password_hash, email="aNN@example.com") == (stored, "hash")
    assert await database.read(users.find_password_hash, email="bob@example.com") is None
    with pytest.raises(AlreadyExists):
        await database.run(users.add_user, user=replace(user, id=new_id()), password_hash=None, now=START)


async def test_a_password_can_be_set_and_taken_away(database: Database) -> None:
    """Issue 2: `user add` with and without a password."""
    ann = await make_user(database)
    await database.run(users.set_password_hash, user_id=ann.id, password_hash="new")
    assert await database.read(users.find_password_hash, email=ann.email) == (ann, "new")
    await database.run(users.set_password_hash, user_id=ann.id, password_hash=None)
    assert await database.read(users.find_password_hash, email=ann.email) == (ann, None)
    with pytest.raises(NotFound):
        await database.run(users.set_password_hash, user_id=new_id(), password_hash="x")


async def test_users_can_be_changed_and_are_listed_by_address(database: Database) -> None:
    """Contract, apply."""
    ann = await make_user(database, "ann@example.com")
    bob = await make_user(database, "bob@example.com")
    disabled = replace(bob, name="Bob", email="aaa@example.com", disabled_at=START)
    await database.run(users.update_user, user=disabled)
    assert await database.read(users.list_users) == [disabled, ann]
    with pytest.raises(AlreadyExists):
        await database.run(users.update_user, user=replace(bob, email="ann@example.com"))
    with pytest.raises(NotFound):
        await database.run(users.update_user, user=replace(bob, id=new_id(), email="x@example.com"))


async def test_a_membership_is_put_changed_listed_and_removed(database: Database) -> None:
    """House, words: Membership."""
    beta, acme = await make_tenant(database, "beta"), await make_tenant(database, "acme")
    ann = await make_user(database, member_of=[beta, acme])
    await database.run(users.put_membership, tenant_id=acme.id, user_id=ann.id, role=Role.OWNER, now=START)
    listed = await database.read(users.list_memberships, user_id=ann.id)
    assert [(m.tenant, m.role) for m in listed] == [(acme, Role.OWNER), (beta, Role.MEMBER)]
    assert await database.read(users.list_members, tenant_id=acme.id) == [(ann, Role.OWNER)]
    assert await database.run(users.remove_membership, tenant_id=acme.id, user_id=ann.id, now=START)
    assert not await database.run(users.remove_membership, tenant_id=acme.id, user_id=ann.id, now=START)
    assert await database.read(users.find_membership, tenant_id=acme.id, user_id=ann.id) is None
    left = await database.read(users.find_membership, tenant_id=beta.id, user_id=ann.id)
    assert left is not None
    assert left.tenant == beta


async def test_the_same_membership_put_at_once_by_many_is_one(database: Database) -> None:
    """Issue 2: concurrency on both databases."""
    acme, ann = await make_tenant(database), await make_user(database)
    put = (
        database.run(users.put_membership, tenant_id=acme.id, user_id=ann.id, role=Role.ADMIN, now=START)
        for _ in range(10)
    )
    await asyncio.gather(*put)
    assert len(await database.read(users.list_memberships, user_id=ann.id)) == 1


async def test_a_browser_session_ends_with_time_sign_out_or_the_user(database: Database) -> None:
    """Security B2: a server-side session."""
    ann = await make_user(database)
    digests = [digest_of(new_session_id()) for _ in range(3)]
    for digest in digests:
        await database.run(
            browser_sessions.add_browser_session, digest=digest, user_id=ann.id, now=START, expires_at=START + HOUR
        )

    async def signed_in(digest: bytes, after: timedelta = timedelta()) -> User | None:
        return await database.read(browser_sessions.find_browser_session_user, digest=digest, now=START + after)

    assert await signed_in(digests[0], HOUR - timedelta(seconds=1)) == ann
    assert await signed_in(digests[0], HOUR) is None
    assert await signed_in(digest_of("unknown")) is None
    await database.run(browser_sessions.revoke_browser_session, digest=digests[0], now=START)
    assert [await signed_in(digest) for digest in digests] == [None, ann, ann]
    ended = await database.run(browser_sessions.revoke_browser_sessions, user_id=ann.id, now=START, keep=digests[2])
    assert ended == 1
    assert [await signed_in(digest) for digest in digests] == [None, None, ann]
    await database.run(users.update_user, user=replace(ann, disabled_at=START))
    assert await signed_in(digests[2]) is None
