"""The one authenticate() (security L1, incident 39)."""

import asyncio

import httpx2
import pytest

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.browser.authenticate import FAILURES_ALLOWED, QUEUE, TRIES
from gateway_proxy.domain.errors import GatewayError, RateLimited, SignInRefused
from gateway_proxy.domain.tenant import User
from gateway_proxy.limits.networks import network_of
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.users import find_password_hash, set_password_hash, update_user
from tests.support.clock import FakeClock
from tests.support.form_filling import form_of, sign_in, submit
from tests.support.people import PUBLIC_URL, People
from tests.support.people_site import PeopleSite

ADDRESS = "192.0.2.1"


async def refuse(site: PeopleSite, email: str, password: str = "wrong", *, address: str = ADDRESS) -> None:
    """One failing try."""
    with pytest.raises(SignInRefused):
        await site.authenticator.authenticate(email, password, address=address)


async def test_a_password_signs_its_owner_in_and_leaves_a_trail(site: PeopleSite, people: People) -> None:
    """The address is read in any case; the audit trail names the user, never the password."""
    user = await people.user(password="correct horse")
    assert await site.authenticator.authenticate(" Ann@Example.COM ", "correct horse", address=ADDRESS) == user
    assert await site.events() == ["sign_in.accepted"]


@pytest.mark.parametrize(
    "email", ["ann@example.com", "nobody@example.com", "", "\x00", "x" * 5000, "nopass@example.com"]
)
async def test_every_failure_is_the_same_refusal(site: PeopleSite, people: People, email: str) -> None:
    """L1: generic, whether the account exists or not; NUL and oversized input included."""
    await people.user(password="correct horse")
    await people.user("nopass@example.com")
    await refuse(site, email)
    assert await site.events() == ["sign_in.refused"]


async def test_a_disabled_user_is_refused_with_the_right_password(
    site: PeopleSite, people: People, database: Database, clock: FakeClock
) -> None:
    """And cannot tell."""
    user = await people.user(password="correct horse")
    disabled = User(id=user.id, email=user.email, name=user.name, disabled_at=clock.now())
    await database.run(update_user, user=disabled)
    await refuse(site, user.email, "correct horse")


async def test_the_eleventh_try_within_five_minutes_is_turned_away_even_with_the_right_password(
    site: PeopleSite, people: People, clock: FakeClock
) -> None:
    """L1: 10 tries per 5 minutes."""
    await people.user(password="correct horse")
    for _ in range(TRIES):
        await refuse(site, "ann@example.com")
    with pytest.raises(RateLimited) as limited:
        await site.authenticator.authenticate("ann@example.com", "correct horse", address=ADDRESS)
    assert 0 < limited.value.retry_after <= 300
    clock.advance(301)
    assert await site.authenticator.authenticate("ann@example.com", "correct horse", address=ADDRESS)


async def test_tries_from_many_addresses_count_for_the_account(site: PeopleSite, people: People) -> None:
    """L1: per account as well."""
    await people.user(password="correct horse")
    for number in range(TRIES):
        await refuse(site, "ann@example.com", address=f"192.0.2.{number}")
    with pytest.raises(RateLimited):
        await site.authenticator.authenticate("ann@example.com", "correct horse", address="198.51.100.1")


async def test_an_account_that_does_not_exist_is_limited_the_same_way(site: PeopleSite) -> None:
    """L1: the limit does not tell who has an account."""
    for _ in range(TRIES):
        await refuse(site, "nobody@example.com")
    with pytest.raises(RateLimited):
        await site.authenticator.authenticate("nobody@example.com", "x", address=ADDRESS)


async def test_a_good_sign_in_forgets_the_tries_before_it(site: PeopleSite, people: People) -> None:
    """A person who mistypes now and then is not locked out."""
    await people.user(password="correct horse")
    for _ in range(3):
        for _ in range(TRIES - 1):
            await refuse(site, "ann@example.com")
        await site.authenticator.authenticate("ann@example.com", "correct horse", address=ADDRESS)


async def test_strangers_who_guess_do_not_lock_the_owner_out_of_a_known_browser(
    site: PeopleSite, people: People, http: httpx2.AsyncClient
) -> None:
    """OWASP device cookies: the strangers' count is theirs alone; also at the form that changes the password."""
    await people.user(password="correct horse")
    await sign_in(http)
    for _ in range(TRIES):
        await refuse(site, "ann@example.com")
    with pytest.raises(RateLimited):
        await site.authenticator.authenticate("ann@example.com", "correct horse", address=ADDRESS)

    account = form_of(await http.get("/account"), "/account/password")
    new = {"current_password": "correct horse", "new_password": "wrong horse", "repeated_password": "wrong horse"}
    assert (await submit(http, account, new)).headers["location"] == "/account?done=password-changed"
    http.cookies.delete("__Host-gw_session")
    assert (await sign_in(http, email=" Ann@Example.com ", password="wrong horse")).status_code == 303


async def test_a_good_sign_in_in_a_known_browser_gives_strangers_no_new_tries(
    site: PeopleSite, people: People, http: httpx2.AsyncClient
) -> None:
    """L1: or an owner who signs in often would help who guesses."""
    await people.user(password="correct horse")
    await sign_in(http)
    for _ in range(TRIES):
        await refuse(site, "ann@example.com")
    http.cookies.delete("__Host-gw_session")
    assert (await sign_in(http)).status_code == 303
    with pytest.raises(RateLimited):
        await site.authenticator.authenticate("ann@example.com", "x", address="198.51.100.1")


async def test_a_known_browser_has_ten_tries_and_no_more(people: People, http: httpx2.AsyncClient) -> None:
    """L1 holds for whoever stole a device cookie."""
    await people.user(password="correct horse")
    await sign_in(http)
    http.cookies.delete("__Host-gw_session")
    for _ in range(TRIES):
        assert (await sign_in(http, password="wrong")).status_code == 403
    assert (await sign_in(http)).status_code == 429


async def test_a_browser_is_known_to_those_who_signed_in_there_only(people: People, http: httpx2.AsyncClient) -> None:
    """OWASP device cookies: one attacker with an account does not get a count of his own for every other."""
    await people.user("mallory@example.com", password="correct horse")
    await people.user("ann@example.com", password="correct horse")
    await sign_in(http, "mallory@example.com")
    http.cookies.delete("__Host-gw_session")
    for _ in range(TRIES):
        await sign_in(http, password="wrong")
    async with httpx2.AsyncClient(transport=http._transport, base_url=PUBLIC_URL) as other:
        assert (await sign_in(other)).status_code == 429


async def test_several_people_share_a_browser(site: PeopleSite, people: People, http: httpx2.AsyncClient) -> None:
    """Signing in as somebody else does not make the first a stranger; the device cookie survives signing out."""
    await people.user("ann@example.com", password="correct horse")
    await people.user("bob@example.com", password="correct horse")
    for email in ("ann@example.com", "bob@example.com"):
        await sign_in(http, email)
        await submit(http, form_of(await http.get("/account"), "/sign-out"))
    for _ in range(TRIES):
        await refuse(site, "ann@example.com")
    assert (await sign_in(http)).status_code == 303


async def test_one_password_tried_on_many_accounts_ends_at_the_failures_of_an_address(
    site: PeopleSite, people: People, http: httpx2.AsyncClient
) -> None:
    """L1: no account is tried twice, so only the address can tell; a right guess gets no answer then either."""
    user = await people.user(password="correct horse")
    for number in range(FAILURES_ALLOWED):
        await refuse(site, f"{number}@example.com")
    with pytest.raises(RateLimited):
        await site.authenticator.authenticate(user.email, "correct horse", address=ADDRESS)
    assert await site.authenticator.authenticate(user.email, "correct horse", address="198.51.100.1") == user
    assert await site.authenticator.authenticate(user.email, "correct horse", address=ADDRESS, device="d") == user


async def test_good_sign_ins_from_one_address_are_not_counted_against_it(site: PeopleSite, people: People) -> None:
    """L1: an office of hundreds signs in from one address in the morning."""
    user = await people.user(password="correct horse")
    for _ in range(FAILURES_ALLOWED + 1):
        assert await site.authenticator.authenticate(user.email, "correct horse", address=ADDRESS) == user


async def test_one_address_does_not_keep_everybody_waiting(site: PeopleSite, people: People) -> None:
    """L1: checking a password is slow on purpose; who floods it waits in a queue of their own, and is counted."""
    user = await people.user(password="correct horse")

    async def attempt(number: int) -> type[GatewayError] | None:
        try:
            await site.authenticator.authenticate(f"{number}@example.com", "x", address=ADDRESS)
        except GatewayError as error:
            return type(error)
        return None

    flood = asyncio.gather(*(attempt(number) for number in range(QUEUE + 20)))
    assert await site.authenticator.authenticate(user.email, "correct horse", address="198.51.100.1") == user
    assert not flood.done()
    outcomes = await flood
    assert outcomes.count(RateLimited) >= 20
    assert outcomes.count(SignInRefused) + outcomes.count(RateLimited) == QUEUE + 20


@pytest.mark.parametrize("forged", ["", "x", "eyJhIjoiYiJ9.aaaa.bbbb", "a" * 10_000])
async def test_a_device_cookie_that_we_did_not_sign_is_a_strangers(
    site: PeopleSite, people: People, http: httpx2.AsyncClient, forged: str
) -> None:
    """A count of one's own is not to be had for a made-up name."""
    await people.user(password="correct horse")
    for _ in range(TRIES):
        await refuse(site, "ann@example.com")
    http.cookies.set("__Host-gw_device", forged)
    assert (await sign_in(http)).status_code == 429


async def test_an_outdated_hash_is_renewed_at_sign_in(site: PeopleSite, people: People, database: Database) -> None:
    """K4: costs grow over the years."""
    user = await people.user(password="correct horse")
    await database.run(set_password_hash, user_id=user.id, password_hash=await _older_hash())
    await site.authenticator.authenticate(user.email, "correct horse", address=ADDRESS)
    found = await database.read(find_password_hash, email=user.email)
    assert found is not None
    assert found[1] is not None
    assert not site.hasher.is_outdated(found[1])


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "-"),
        (None, "-"),
    ],
)
def test_an_ipv6_subscriber_counts_as_one(address: str | None, network: str) -> None:
    """One subscriber has 2^64 addresses."""
    assert network_of(address) == network


async def _older_hash() -> str:
    return await PasswordHasher(time_cost=1, memory_kib=16).hash("correct horse")
