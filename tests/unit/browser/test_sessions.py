"""Cookies and sessions of people (security B2)."""

from datetime import timedelta

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.browser_sessions import find_browser_session_user
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.support.form_filling import form_of, sign_in, submit
from tests.support.people import People
from tests.support.people_site import PeopleSite

SESSION, BROWSER = "__Host-gw_session", "__Host-gw_browser"


def request_with(cookies: str) -> Request:
    """A request as it comes in with these cookies."""
    return Request({"type": "http", "method": "GET", "headers": [(b"cookie", cookies.encode("latin-1"))]})


async def test_the_cookie_of_a_session_is_bound_to_this_host_and_hidden_from_scripts(
    http: httpx2.AsyncClient, people: People
) -> None:
    """B2: __Host-, Secure, HttpOnly, SameSite=Lax, Path=/, 12 h."""
    await people.user(password="correct horse")
    response = await sign_in(http)
    [cookie] = [line for line in response.headers.get_list("set-cookie") if line.startswith(SESSION)]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "max-age=43200", "path=/", "samesite=lax", "secure"}


def test_on_loopback_http_the_cookie_has_a_plain_name_and_no_secure(
    database: Database, keyring: Keyring, clock: FakeClock
) -> None:
    """Contract: `gw_session` without Secure on the loopback http default, where browsers would drop it."""
    signing = Signing(keyring, clock)
    sessions = BrowserSessions(database, signing, clock, public_url="http://127.0.0.1:8000")
    request, response = request_with(""), Response()
    sessions.binding(request)
    sessions.keep_binding(request, response)
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith("gw_browser=")
    assert "secure" not in cookie
    assert "httponly" in cookie


async def test_only_a_digest_of_the_session_id_is_stored(
    http: httpx2.AsyncClient, site: PeopleSite, people: People, database: Database, clock: FakeClock
) -> None:
    """B2: a database dump signs nobody in."""
    user = await people.user(password="correct horse")
    await sign_in(http)
    session_id = site.signing.find("session", http.cookies[SESSION], max_age=timedelta(hours=12))
    assert session_id is not None
    found = await database.read(find_browser_session_user, digest=digest_of(session_id), now=clock.now())
    assert found == user


async def test_signing_in_again_gives_a_new_id_and_ends_the_old_session(
    http: httpx2.AsyncClient, site: PeopleSite, people: People
) -> None:
    """B2: new id at login; no fixation."""
    await people.user(password="correct horse")
    page = await http.get("/sign-in")
    filled = {"email": "ann@example.com", "password": "correct horse"}
    await submit(http, form_of(page, "/sign-in"), filled)
    first = http.cookies[SESSION]
    await submit(http, form_of(page, "/sign-in"), filled)
    assert http.cookies[SESSION] != first
    assert await site.sessions.current_user(request_with(f"{SESSION}={first}")) is None
    assert await site.sessions.current_user(request_with(f"{SESSION}={http.cookies[SESSION]}")) is not None


async def test_signing_out_ends_the_session_also_for_a_copy_of_the_cookie(
    http: httpx2.AsyncClient, site: PeopleSite, people: People
) -> None:
    """Server-side sessions."""
    await people.user(password="correct horse")
    await sign_in(http)
    copy = http.cookies[SESSION]
    account = await http.get("/account")
    response = await submit(http, form_of(account, "/sign-out"))
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert SESSION not in http.cookies
    assert await site.sessions.current_user(request_with(f"{SESSION}={copy}")) is None


async def test_a_session_ends_after_twelve_hours(http: httpx2.AsyncClient, people: People, clock: FakeClock) -> None:
    """B2: 12 h, by storage and by signature."""
    await people.user(password="correct horse")
    await sign_in(http)
    assert (await http.get("/account")).status_code == 200
    clock.advance(12 * 3600 + 1)
    response = await http.get("/account")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")


async def test_a_cookie_that_we_did_not_sign_is_nobody(site: PeopleSite, people: People) -> None:
    """A made-up id never reaches storage."""
    await people.user(password="correct horse")
    for value in (new_session_id(), "", "a.b.c", "\xff"):
        assert await site.sessions.current_user(request_with(f"{SESSION}={value}")) is None


async def test_a_cookie_that_is_sent_twice_counts_as_none(
    http: httpx2.AsyncClient, site: PeopleSite, people: People
) -> None:
    """Cookie tossing: of two, one is planted; so is a header of 16 KiB (security incident 42)."""
    await people.user(password="correct horse")
    await sign_in(http)
    good = f"{SESSION}={http.cookies[SESSION]}"
    assert await site.sessions.current_user(request_with(good)) is not None
    assert await site.sessions.current_user(request_with(f"{good}; {SESSION}=x")) is None
    assert await site.sessions.current_user(request_with(f"{good}; {'x' * 17_000}=1")) is None


@pytest.mark.parametrize("path", ["/", "/sign-in"])
async def test_a_browser_keeps_one_binding_over_many_pages(http: httpx2.AsyncClient, path: str) -> None:
    """A second GET does not spoil the first page's form (security incident 30)."""
    await http.get("/sign-in")
    binding = http.cookies[BROWSER]
    response = await http.get(path)
    assert "set-cookie" not in response.headers
    assert http.cookies[BROWSER] == binding
