"""Keys of /v1 that we did not issue (compatibility D13–D15; security RS1, RS4, T1)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway_proxy.auth.apiman_probe import ApimanProbes
from gateway_proxy.auth.key_chain import TRIES, WINDOW_SECONDS, KeyChain
from gateway_proxy.auth.outside_doors import StoredDoors
from gateway_proxy.auth.token_verifier import TokenVerifier, VerifiedToken
from gateway_proxy.domain.errors import RateLimited, TokenInvalid, TokenMalformed, TokenMissing
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.domain.principal import Scope, TokenKind
from gateway_proxy.domain.role import Role
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.limits.limiter import open_limiter
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.key_probes import put_key_probe, remove_key_probe
from gateway_proxy.storage.sql.static_keys import add_static_key, remove_static_key
from tests.support.apiman import FakeApiman, running_apiman
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People

ALTERNATES = (b"x-api-key", b"api-key")
KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
SECRET = "a-secret-of-apiman"
ADDRESS = "192.0.2.7"


def bearer(secret: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {secret}".encode()


@dataclass
class Site:
    """A chain on a real database, and how its configuration is changed."""

    database: Database
    keyring: Keyring
    clock: FakeClock
    people: People
    chain: KeyChain

    async def verify(self, *headers: tuple[bytes, bytes], address: str | None = ADDRESS) -> VerifiedToken:
        return await self.chain.verify_request(headers, alternates=ALTERNATES, address=address)

    async def add_key(self, tenant: Tenant, secret: str, name: str = "bob", keyring: Keyring | None = None) -> None:
        digest = KeyDigests(keyring or self.keyring).current(secret)
        key = StaticKey(new_id(), tenant.id, name, digest)
        await self.database.run(add_static_key, tenant_id=tenant.id, key=key, now=self.clock.now())
        self.clock.advance(2)

    async def put_apiman(self, tenant: Tenant, settings: Apiman) -> None:
        place: dict[str, Any] = {"tenant_id": tenant.id, "keyring": self.keyring, "now": self.clock.now()}
        await self.database.run(put_key_probe, settings=settings, **place)
        self.clock.advance(2)


@pytest.fixture
async def site(
    database: Database, keyring: Keyring, clock: FakeClock, people: People, verifier: TokenVerifier
) -> AsyncIterator[Site]:
    """A chain of its own for each test."""
    probes = ApimanProbes(EgressGuard(), clock)
    doors = StoredDoors(database, keyring, clock)
    limiter = open_limiter(None, clock)
    chain = KeyChain(verifier, doors, probes, limiter, KeyDigests(keyring), public_url=PUBLIC_URL)
    yield Site(database, keyring, clock, people, chain)
    await probes.close()


def probe_of(apiman: FakeApiman, **settings: Any) -> Apiman:
    return replace(
        Apiman("gateway_probe", gateway_url=apiman.url, probe_api="org/llm/1.0", probe_path="ping"), **settings
    )


async def test_a_static_key_is_a_member_with_one_scope_of_its_own_tenant(site: Site) -> None:
    """Compatibility D13; security RS1, RS4, T1: any of the three headers, no scope but openai."""
    acme, other = await site.people.tenant(), await site.people.tenant("other")
    await site.add_key(acme, KEY)
    await site.add_key(other, OTHER, name="ann & friends, a very long name of a key indeed")
    for header in (bearer(KEY), (b"x-api-key", KEY.encode()), (b"api-key", KEY.encode())):
        found = await site.verify(header)
        principal = found.principal
        assert (found.tenant, principal.tenant_id) == (acme, acme.id)
        assert (principal.kind, principal.user_id, principal.client_id) == (TokenKind.STATIC, "key:bob", None)
        assert (principal.role, principal.scopes) == (Role.MEMBER, frozenset({Scope.OPENAI}))
        assert principal.audience == f"{PUBLIC_URL}/v1"
    stranger = (await site.verify(bearer(OTHER))).principal
    assert stranger.tenant_id == other.id
    assert len(stranger.user_id) <= 32


async def test_one_credential_at_a_time_and_none_is_none(site: Site) -> None:
    """Security RS1: exactly one of the three."""
    await site.add_key(await site.people.tenant(), KEY)
    with pytest.raises(TokenMalformed):
        await site.verify(bearer(KEY), (b"x-api-key", KEY.encode()))
    with pytest.raises(TokenMissing):
        await site.verify()
    with pytest.raises(TokenInvalid):
        await site.verify(bearer(KEY + "x"))


async def test_a_key_that_is_taken_out_is_refused_within_two_seconds(site: Site) -> None:
    """Issue 4: revocation is felt within the time that a decision is cached."""
    acme = await site.people.tenant()
    await site.add_key(acme, KEY)
    await site.verify(bearer(KEY))
    await site.database.run(remove_static_key, tenant_id=acme.id, name="bob")
    site.clock.advance(2)
    with pytest.raises(TokenInvalid):
        await site.verify(bearer(KEY))


async def test_issued_tokens_go_on_as_everywhere(site: Site) -> None:
    """Compatibility D13: any of them opens /v1; a token of ours is never shown to Apiman."""
    ann, acme = await site.people.user(), await site.people.tenant()
    await site.people.join(ann, acme)
    token, _ = await site.people.personal_token(ann, acme)
    async with running_apiman({"anything"}) as apiman:
        await site.put_apiman(acme, probe_of(apiman))
        assert (await site.verify(bearer(token))).principal.user_id == ann.id
        with pytest.raises(TokenInvalid):
            await site.verify(bearer("gw_pat_wrong"))
        assert apiman.asked == []


async def test_a_key_digested_under_an_older_secret_key_still_opens(
    database: Database, clock: FakeClock, people: People, verifier: TokenVerifier
) -> None:
    """Security K2: rotation without locking out."""
    older, newer = "an older key that is long enough 01", "a newer key that is long enough 002"
    keyring = Keyring([newer, older])
    chain = KeyChain(
        verifier,
        StoredDoors(database, keyring, clock),
        ApimanProbes(EgressGuard(), clock),
        open_limiter(None, clock),
        KeyDigests(keyring),
        public_url=PUBLIC_URL,
    )
    site = Site(database, keyring, clock, people, chain)
    await site.add_key(await people.tenant(), KEY, keyring=Keyring([older]))
    assert (await site.verify(bearer(KEY))).principal.user_id == "key:bob"


async def test_guessing_is_stopped_and_known_keys_go_on(site: Site) -> None:
    """Security L2: failures are limited per address, and a right guess beyond the limit is not told."""
    acme = await site.people.tenant()
    await site.add_key(acme, KEY)
    await site.add_key(acme, OTHER, name="ann")
    await site.verify(bearer(KEY))
    for number in range(TRIES):
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(f"guess-{number:012}"))
    with pytest.raises(RateLimited):
        await site.verify(bearer(OTHER))
    await site.verify(bearer(KEY))
    assert (await site.verify(bearer(OTHER), address="192.0.2.8")).principal.user_id == "key:ann"
    site.clock.advance(WINDOW_SECONDS)
    with pytest.raises(TokenInvalid):
        await site.verify(bearer("another-wrong-key"))


async def test_apiman_is_asked_once_per_key_and_minute(site: Site) -> None:
    """Compatibility D14: 2xx = ok, both outcomes cached per key; many requests at once are one question."""
    async with running_apiman({KEY}) as apiman:
        acme = await site.people.tenant()
        await site.put_apiman(acme, probe_of(apiman))
        found = await asyncio.gather(*(site.verify(bearer(KEY)) for _ in range(5)))
        assert {entry.tenant.id for entry in found} == {acme.id}
        assert found[0].principal.user_id.startswith("apiman:")
        assert len(found[0].principal.user_id) <= 32
        for _ in range(3):
            with pytest.raises(TokenInvalid):
                await site.verify((b"x-api-key", OTHER.encode()))
        assert apiman.asked == [KEY, OTHER]
        apiman.known = {OTHER}
        site.clock.advance(59)
        await site.verify(bearer(KEY))
        site.clock.advance(2)
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(KEY))
        assert (await site.verify(bearer(OTHER))).principal.user_id != found[0].principal.user_id
        await site.database.run(remove_key_probe, tenant_id=acme.id)
        site.clock.advance(2)
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(OTHER))


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 503])
async def test_apiman_that_does_not_say_yes_opens_nothing(site: Site, status: int) -> None:
    """Compatibility D14: fails closed; a redirect is no yes. What was no answer is asked again soon."""
    async with running_apiman({KEY}, header="X-Gateway-Key") as apiman:
        await site.put_apiman(await site.people.tenant(), probe_of(apiman, api_key_header="X-Gateway-Key"))
        apiman.status = status
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(KEY))
        apiman.status = None
        site.clock.advance(60 if status < 429 else 2)
        await site.verify(bearer(KEY))


async def test_apiman_that_does_not_answer_opens_nothing(site: Site) -> None:
    """Compatibility D14: time-out and refused connection fail closed."""
    acme = await site.people.tenant()
    async with running_apiman({KEY}) as apiman:
        apiman.stalled = asyncio.Event()
        await site.put_apiman(acme, probe_of(apiman, timeout=0.1))
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(KEY))
    site.clock.advance(60)
    with pytest.raises(TokenInvalid):
        await site.verify(bearer(KEY))


async def test_a_key_that_two_tenants_would_own_has_none(site: Site) -> None:
    """Security T1, T5: no first one wins."""
    async with running_apiman({KEY}) as apiman:
        for slug in ("acme", "other"):
            await site.put_apiman(await site.people.tenant(slug), probe_of(apiman))
        with pytest.raises(TokenInvalid):
            await site.verify(bearer(KEY))


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_trusted_header_vouches_when_it_is_enabled(site: Site, enabled: bool) -> None:
    """Compatibility D15: header and secret, once."""
    acme = await site.people.tenant()
    await site.put_apiman(acme, Apiman("trusted_header", enabled=enabled, header="X-Gateway-Auth", secret=SECRET))
    marked = (b"x-gateway-auth", SECRET.encode())
    if not enabled:
        with pytest.raises(TokenMissing):
            await site.verify(marked)
        return
    assert (await site.verify(marked)).tenant == acme
    assert (await site.verify(marked, bearer(KEY))).tenant == acme
    refused: Sequence[tuple[bytes, bytes]]
    for refused in ([(b"x-gateway-auth", b"a-secret-of-apimaN")], [marked, marked, bearer(KEY)], [bearer(SECRET)]):
        with pytest.raises(TokenInvalid):
            await site.verify(*refused)
