"""The query behind every bearer check, personal tokens, and what ends with a membership; on both databases."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Table, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.principal import TokenKind
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Role, Tenant, User
from gateway_proxy.storage.sql import personal_tokens, tables, users
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.principals import TokenGrounds, find_token_grounds
from tests.support.clock import START
from tests.support.factories import (
    HOUR,
    add_client,
    add_family,
    make_access_token,
    make_personal_token,
    make_tenant,
    make_user,
)

MakeToken = Callable[..., Awaitable[str]]


async def grounds_of(database: Database, secret: str, after: timedelta = timedelta()) -> TokenGrounds | None:
    """What this bearer secret stands on."""
    return await database.read(find_token_grounds, digest=digest_of(secret), now=START + after)


async def test_an_access_token_stands_on_its_own_row(database: Database) -> None:
    """Security T1: tenant, user and scope come from the token's row."""
    acme = await make_tenant(database, "acme")
    ann = await make_user(database, member_of=[acme], role=Role.ADMIN)
    secret = await make_access_token(database, tenant=acme, user=ann, scope="mcp openai")
    grounds = await grounds_of(database, secret)
    assert grounds is not None
    assert (grounds.tenant, grounds.user_id, grounds.role) == (acme, ann.id, Role.ADMIN)
    assert (grounds.kind, grounds.scope, grounds.audience) == (
        TokenKind.ACCESS,
        "mcp openai",
        "http://127.0.0.1:8000/mcp",
    )
    assert grounds.client_id is not None
    assert grounds.client_id.startswith("gwc_")
    assert (grounds.digest, grounds.expires_at) == (digest_of(secret), START + HOUR)


async def test_a_personal_token_has_no_client_and_no_audience_of_its_own(database: Database) -> None:
    """Contract: personal tokens are for all of us."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    grounds = await grounds_of(database, await make_personal_token(database, tenant=acme, user=ann, scope="openai"))
    assert grounds is not None
    assert (grounds.kind, grounds.client_id, grounds.audience) == (TokenKind.PERSONAL, None, None)
    assert (grounds.tenant, grounds.role, grounds.scope) == (acme, Role.MEMBER, "openai")


@pytest.mark.parametrize("make", [make_access_token, make_personal_token])
async def test_a_token_stands_on_nothing_when_one_of_its_legs_is_gone(database: Database, make: MakeToken) -> None:
    """Security RS2: expiry, membership and the user are looked at on every request."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    secret = await make(database, tenant=acme, user=ann, expires_at=START + HOUR)
    assert await grounds_of(database, secret, HOUR - timedelta(microseconds=1)) is not None
    assert await grounds_of(database, secret, HOUR) is None
    assert await grounds_of(database, secret + "x") is None
    await database.run(users.update_user, user=replace(ann, disabled_at=START))
    assert await grounds_of(database, secret) is None
    await database.run(users.update_user, user=ann)
    assert await grounds_of(database, secret) is not None
    await database.run(users.remove_membership, tenant_id=acme.id, user_id=ann.id, now=START)
    assert await grounds_of(database, secret) is None


@pytest.mark.parametrize("table", [tables.token_families, tables.grants, tables.access_tokens])
async def test_an_access_token_falls_with_itself_its_family_and_its_grant(database: Database, table: Table) -> None:
    """Security AS6, AS12: revocation reaches access tokens at once."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    secret = await make_access_token(database, tenant=acme, user=ann)
    await database.run(lambda session: session.execute(update(table).values(revoked_at=START)))
    assert await grounds_of(database, secret) is None


async def test_a_changed_role_shows_at_once(database: Database) -> None:
    """Contract: effective scopes follow what the membership allows now."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme], role=Role.OWNER)
    secret = await make_personal_token(database, tenant=acme, user=ann)
    await database.run(users.put_membership, tenant_id=acme.id, user_id=ann.id, role=Role.MEMBER, now=START)
    grounds = await grounds_of(database, secret)
    assert grounds is not None
    assert grounds.role is Role.MEMBER


async def test_who_is_taken_back_finds_the_old_tokens_dead(database: Database) -> None:
    """Security T6: removal revokes grants, families and tokens; tokens of other tenants live on."""
    acme, beta = await make_tenant(database), await make_tenant(database)
    ann = await make_user(database, member_of=[acme, beta])
    bob = await make_user(database, member_of=[acme])
    dead = [
        await make_access_token(database, tenant=acme, user=ann),
        await make_personal_token(database, tenant=acme, user=ann),
    ]
    alive = [
        await make_access_token(database, tenant=beta, user=ann),
        await make_personal_token(database, tenant=beta, user=ann),
        await make_access_token(database, tenant=acme, user=bob),
    ]
    await database.run(users.remove_membership, tenant_id=acme.id, user_id=ann.id, now=START)
    await database.run(users.put_membership, tenant_id=acme.id, user_id=ann.id, role=Role.OWNER, now=START)
    assert [await grounds_of(database, secret) for secret in dead] == [None, None]
    assert None not in [await grounds_of(database, secret) for secret in alive]


async def test_removal_ends_codes_and_erases_sealed_responses(database: Database) -> None:
    """Contract, refresh grace: erased on revocation; a code that is under way ends too."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await database.run(add_code_and_refresh_token, tenant=acme, user=ann)
    await database.run(users.remove_membership, tenant_id=acme.id, user_id=ann.id, now=START)

    def rest(session: Session) -> tuple[object, ...]:
        code = session.execute(select(tables.authorization_codes.c.id)).first()
        sealed = session.scalar(select(tables.refresh_tokens.c.sealed_response))
        family = session.execute(select(tables.token_families.c.revoked_reason)).one()
        return code, sealed, family.revoked_reason

    assert await database.read(rest) == (None, None, "membership_removed")


async def test_personal_tokens_are_listed_newest_first_with_what_became_of_them(database: Database) -> None:
    """Security AS8: listed and revocable."""
    acme, beta = await make_tenant(database), await make_tenant(database)
    ann = await make_user(database, member_of=[acme, beta])
    bob = await make_user(database, member_of=[acme])
    for owner, minutes in ((ann, 0), (ann, 5), (bob, 9)):
        await make_personal_token(database, tenant=acme, user=owner, now=START + timedelta(minutes=minutes))
    await make_personal_token(database, tenant=beta, user=ann)
    newest, oldest = await database.read(personal_tokens.list_personal_tokens, tenant_id=acme.id, user_id=ann.id)
    assert newest.created_at > oldest.created_at
    assert len(await database.read(personal_tokens.list_tenant_personal_tokens, tenant_id=acme.id)) == 3

    async def revoke(tenant: Tenant) -> bool:
        return await database.run(
            personal_tokens.revoke_personal_token, tenant_id=tenant.id, token_id=oldest.id, now=START
        )

    assert [await revoke(beta), await revoke(acme), await revoke(acme)] == [False, True, False]
    listed = await database.read(personal_tokens.list_personal_tokens, tenant_id=acme.id, user_id=ann.id)
    assert [token.revoked_at for token in listed] == [None, START]


async def test_the_use_of_a_personal_token_is_noted_now_and_then(database: Database) -> None:
    """Performance: no write for every call."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await make_personal_token(database, tenant=acme, user=ann)
    (token,) = await database.read(personal_tokens.list_personal_tokens, tenant_id=acme.id, user_id=ann.id)
    noted = []
    for minutes in (1, 2, 7):
        at = START + timedelta(minutes=minutes)
        await database.run(personal_tokens.note_personal_token_use, tenant_id=acme.id, token_id=token.id, now=at)
        (token,) = await database.read(personal_tokens.list_personal_tokens, tenant_id=acme.id, user_id=ann.id)
        noted.append(token.last_used_at)
    assert noted == [START + timedelta(minutes=1), START + timedelta(minutes=1), START + timedelta(minutes=7)]


def add_code_and_refresh_token(session: Session, *, tenant: Tenant, user: User) -> None:
    """A code that is not redeemed yet, and a spent refresh token with its grace copy."""
    client = add_client(session)
    owner = {"tenant_id": tenant.id, "user_id": user.id, "client_id": client}
    owner["family_id"] = add_family(session, tenant=tenant, user=user, client_id=client)
    life = {"issued_at": START, "expires_at": START + HOUR}
    session.execute(
        insert(tables.authorization_codes).values(
            id=new_id(),
            digest=digest_of(new_secret("gw_ac_")),
            transaction_id=new_id(),
            redirect_uri="https://client.example/callback",
            scope="mcp",
            resource="http://127.0.0.1:8000/mcp",
            code_challenge="x" * 43,
            **life,
            **owner,
        )
    )
    session.execute(
        insert(tables.refresh_tokens).values(
            id=new_id(),
            digest=digest_of(new_secret("gw_rt_")),
            generation=0,
            used_at=START,
            sealed_response=b"sealed",
            **life,
            **owner,
        )
    )
