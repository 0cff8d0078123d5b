"""Forms are ours, for this browser and this purpose (security B3)."""

import httpx2
import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.support.form_filling import SAME_ORIGIN, form_of, sign_in, submit
from tests.support.people import PUBLIC_URL, People
from tests.support.people_site import PeopleSite

FILLED = {"email": "ann@example.com", "password": "correct horse"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": PUBLIC_URL, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": PUBLIC_URL},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
async def test_a_form_posted_from_our_own_page_is_taken(
    http: httpx2.AsyncClient, people: People, headers: dict[str, str]
) -> None:
    """Our pages send no referrer, so Chromium says `Origin: null` even for them (Fetch §3.2)."""
    await people.user(password="correct horse")
    page = await http.get("/sign-in")
    response = await submit(http, form_of(page, "/sign-in"), FILLED, headers=headers)
    assert response.status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://other.gw.example", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_a_form_posted_from_another_site_is_refused_even_with_a_good_token(
    http: httpx2.AsyncClient, people: People, headers: dict[str, str]
) -> None:
    """B3: Origin check on POST, on login too."""
    await people.user(password="correct horse")
    page = await http.get("/sign-in")
    response = await submit(http, form_of(page, "/sign-in"), FILLED, headers=headers)
    assert response.status_code == 403
    assert "__Host-gw_session" not in http.cookies


async def test_a_second_page_does_not_spoil_the_form_of_the_first(http: httpx2.AsyncClient, people: People) -> None:
    """Security incident 30: idempotent GET."""
    await people.user(password="correct horse")
    first = await http.get("/sign-in")
    await http.get("/sign-in")
    assert (await submit(http, form_of(first, "/sign-in"), FILLED)).status_code == 303


async def test_a_token_of_another_browser_is_refused_with_a_fresh_form(
    http: httpx2.AsyncClient, site: PeopleSite, people: People
) -> None:
    """Login CSRF: an attacker's own token does not work in the victim's browser."""
    await people.user(password="correct horse")
    transport = httpx2.ASGITransport(app=site.app)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as attacker:
        planted = form_of(await attacker.get("/sign-in"), "/sign-in")
    await http.get("/sign-in")
    response = await submit(http, planted, FILLED)
    assert response.status_code == 403
    assert (await submit(http, form_of(response, "/sign-in"), FILLED)).status_code == 303


async def test_a_token_for_another_purpose_is_refused(http: httpx2.AsyncClient, people: People) -> None:
    """A sign-in token does not sign out."""
    await people.user(password="correct horse")
    page = await http.get("/sign-in")
    token = form_of(page, "/sign-in").fields["csrf"]
    await sign_in(http)
    response = await http.post("/sign-out", data={"csrf": token}, headers=SAME_ORIGIN)
    assert response.status_code == 403
    assert "__Host-gw_session" in http.cookies


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c"])
async def test_a_form_without_a_good_token_is_refused(
    http: httpx2.AsyncClient, people: People, token: str | None
) -> None:
    """B3."""
    await people.user(password="correct horse")
    await sign_in(http)
    data = {"next": ""} if token is None else {"csrf": token}
    assert (await http.post("/sign-out", data=data, headers=SAME_ORIGIN)).status_code == 403


async def test_a_form_of_another_account_is_refused(http: httpx2.AsyncClient, people: People) -> None:
    """The page of one user, posted after another one signed in."""
    await people.user(password="correct horse")
    await people.user("bob@example.com", password="correct horse", name="Bob")
    await sign_in(http)
    page = await http.get("/account")
    await submit(http, form_of(await http.get("/account"), "/sign-out"))
    await sign_in(http, "bob@example.com")
    response = await submit(http, form_of(page, "/account/password"))
    assert response.status_code == 403


async def test_a_form_is_good_for_twelve_hours(http: httpx2.AsyncClient, people: People, clock: FakeClock) -> None:
    """And the page says what to do then."""
    await people.user(password="correct horse")
    await sign_in(http)
    token = form_of(await http.get("/account"), "/sign-out").fields["csrf"]
    clock.advance(12 * 3600 + 1)
    response = await http.post("/sign-out", data={"csrf": token}, headers=SAME_ORIGIN)
    assert response.status_code == 403
    assert "reload the page" in response.text


async def test_on_loopback_http_a_browser_without_fetch_metadata_can_sign_in(
    database: Database, keyring: Keyring, clock: FakeClock, people: People
) -> None:
    """Not every browser sends Sec-Fetch-Site to http://127.0.0.1; the token alone has to do there."""
    await people.user(password="correct horse")
    loopback = "http://127.0.0.1:8000"
    app = PeopleSite(database, keyring, clock, public_url=loopback).app
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=loopback) as http:
        page = await http.get("/sign-in")
        response = await submit(http, form_of(page, "/sign-in"), FILLED, headers={"Origin": "null"})
    assert response.status_code == 303
