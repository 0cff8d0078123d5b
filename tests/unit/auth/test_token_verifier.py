"""Secret → Principal, with a cache that revocation beats (security RS2, O4; relay 10)."""

import asyncio

import pytest
from sqlalchemy import Engine, event

from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.domain.errors import StorageUnavailable, TokenInvalid
from gateway_proxy.domain.principal import TokenKind
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Role
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import revoke_grant
from gateway_proxy.storage.sql.personal_tokens import list_personal_tokens, revoke_personal_token
from gateway_proxy.storage.sql.users import remove_membership
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People


class QueryCount:
    """Counts the statements that look tokens up, on every engine, while it is open."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "QueryCount":
        event.listen(Engine, "before_cursor_execute", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._count)

    def _count(self, _: object, __: object, statement: str, *___: object) -> None:
        self.number += "UNION ALL" in statement


async def test_a_personal_token_becomes_its_owner_in_its_tenant(verifier: TokenVerifier, people: People) -> None:
    """Contract: tenant and user come from the token's row; personal tokens have the audience PUBLIC_URL."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant, Role.ADMIN)
    secret, token = await people.personal_token(user, tenant, scope="mcp admin")
    verified = await verifier.verify(secret)
    principal = verified.principal
    assert verified.tenant == tenant
    assert (principal.user_id, principal.tenant_id, principal.token_id) == (user.id, tenant.id, token.id)
    assert (principal.kind, principal.audience, principal.client_id) == (TokenKind.PERSONAL, PUBLIC_URL, None)
    assert principal.scopes == {"mcp", "admin"}
    assert principal.token_digest == digest_of(secret)


@pytest.mark.parametrize("audience", [PUBLIC_URL, f"{PUBLIC_URL}/mcp", f"{PUBLIC_URL}/sse", f"{PUBLIC_URL}/v1"])
async def test_an_access_token_for_any_identifier_of_ours_is_accepted(
    verifier: TokenVerifier, people: People, audience: str
) -> None:
    """Contract: the audience check asks "is it ours"; the scope decides the surface."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant, audience=audience)
    principal = (await verifier.verify(issued.secret)).principal
    assert (principal.kind, principal.audience) == (TokenKind.ACCESS, audience)
    assert principal.client_id == issued.token.client_id


@pytest.mark.parametrize("audience", ["https://other.example/mcp", f"{PUBLIC_URL}/", f"{PUBLIC_URL}/mcp/"])
async def test_a_token_for_another_audience_is_unknown(verifier: TokenVerifier, people: People, audience: str) -> None:
    """RFC 8707 §2: a token for somebody else is no token."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant, audience=audience)
    with pytest.raises(TokenInvalid):
        await verifier.verify(issued.secret)


async def test_an_unknown_token_is_invalid_and_asked_of_storage_once(verifier: TokenVerifier) -> None:
    """Refusals are cached too."""
    with QueryCount() as queries:
        for _ in range(3):
            with pytest.raises(TokenInvalid):
                await verifier.verify("gw_at_unknown")
    assert queries.number == 1


async def test_a_hundred_requests_with_one_token_are_one_query(verifier: TokenVerifier, people: People) -> None:
    """Single flight: a stampede does not reach the database."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    with QueryCount() as queries:
        verified = await asyncio.gather(*(verifier.verify(secret) for _ in range(100)))
    assert queries.number == 1
    assert len({id(one) for one in verified}) == 1


async def test_a_cancelled_request_does_not_fail_those_who_joined_its_query(
    verifier: TokenVerifier, people: People
) -> None:
    """A client that hangs up first must not take others with it."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    first = asyncio.create_task(verifier.verify(secret))
    second = asyncio.create_task(verifier.verify(secret))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).principal.user_id == user.id
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_revocation_is_felt_within_two_seconds_without_a_push(
    verifier: TokenVerifier, people: People, database: Database, clock: FakeClock
) -> None:
    """Relay 10: ≤ 2 s of revocation lag."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, token = await people.personal_token(user, tenant)
    await verifier.verify(secret)
    await database.run(revoke_personal_token, tenant_id=tenant.id, token_id=token.id, now=clock.now())
    clock.advance(2)
    with pytest.raises(TokenInvalid):
        await verifier.verify(secret)


async def test_a_pushed_revocation_is_felt_at_once(
    verifier: TokenVerifier, people: People, database: Database, clock: FakeClock
) -> None:
    """Push invalidation: `forget` and `forget_all`."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant)
    other, _ = await people.personal_token(user, tenant)
    await verifier.verify(issued.secret)
    await verifier.verify(other)
    await database.run(revoke_grant, tenant_id=tenant.id, user_id=user.id, grant_id=issued.grant.id, now=clock.now())
    verifier.forget(digest_of(issued.secret))
    with pytest.raises(TokenInvalid):
        await verifier.verify(issued.secret)
    await database.run(remove_membership, tenant_id=tenant.id, user_id=user.id, now=clock.now())
    assert await verifier.verify(other)
    verifier.forget_all()
    with pytest.raises(TokenInvalid):
        await verifier.verify(other)


async def test_an_answer_that_a_revocation_overtook_is_not_cached(
    verifier: TokenVerifier, people: People, database: Database, clock: FakeClock
) -> None:
    """`forget` during a look-up: the next request asks again."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, token = await people.personal_token(user, tenant)
    under_way = asyncio.create_task(verifier.verify(secret))
    await asyncio.sleep(0)
    verifier.forget(digest_of(secret))
    await under_way
    await database.run(revoke_personal_token, tenant_id=tenant.id, token_id=token.id, now=clock.now())
    with pytest.raises(TokenInvalid):
        await verifier.verify(secret)


async def test_a_cached_token_ends_with_its_expiry(verifier: TokenVerifier, people: People, clock: FakeClock) -> None:
    """The cache never stretches a token's life."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant, seconds=1)
    await verifier.verify(issued.secret)
    clock.advance(1)
    with pytest.raises(TokenInvalid):
        await verifier.verify(issued.secret)


async def test_a_flood_of_wrong_tokens_stays_bounded_and_evicts_no_good_one(
    database: Database, people: People, clock: FakeClock
) -> None:
    """Bounded caches, one for each verdict."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    verifier = TokenVerifier(database, clock, public_url=PUBLIC_URL, entries=5)
    await verifier.verify(secret)
    with QueryCount() as queries:
        for number in range(20):
            with pytest.raises(TokenInvalid):
                await verifier.verify(f"gw_at_{number}")
        assert queries.number == 20
        await verifier.verify(secret)
        with pytest.raises(TokenInvalid):
            await verifier.verify("gw_at_19")
        assert queries.number == 20
        with pytest.raises(TokenInvalid):
            await verifier.verify("gw_at_0")
        assert queries.number == 21
    await verifier.close()


async def test_a_database_that_does_not_answer_is_reported_and_not_remembered(
    clock: FakeClock, sqlite_url: str
) -> None:
    """Security O4: 503, never a verdict; a good answer follows as soon as storage is back."""
    missing = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    verifier = TokenVerifier(missing, clock, public_url=PUBLIC_URL)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await verifier.verify("gw_at_any")
    await missing.close()


async def test_the_use_of_a_personal_token_is_noted(
    verifier: TokenVerifier, people: People, database: Database, clock: FakeClock
) -> None:
    """People see which of their tokens are in use."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    await verifier.verify(secret)
    await verifier.close()
    [token] = await database.read(list_personal_tokens, tenant_id=tenant.id, user_id=user.id)
    assert token.last_used_at == clock.now()
