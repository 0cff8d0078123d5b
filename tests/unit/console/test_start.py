"""The start page."""

import httpx2

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.support.form_filling import sign_in
from tests.support.people import People
from tests.support.people_site import PeopleSite


async def test_a_visitor_learns_the_real_addresses_and_where_to_sign_in(http: httpx2.AsyncClient) -> None:
    """Addresses come from PUBLIC_URL, never from the request."""
    page = await http.get("/", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert page.status_code == 200
    assert "https://gw.example/mcp" in page.text
    assert "https://gw.example/v1" in page.text
    assert "evil.example" not in page.text
    assert 'href="/sign-in"' in page.text
    assert "this computer only" not in page.text


async def test_who_is_signed_in_is_led_to_the_account(http: httpx2.AsyncClient, people: People) -> None:
    """The page knows who looks at it."""
    await people.user(password="correct horse")
    await sign_in(http)
    page = await http.get("/")
    assert "ann@example.com" in page.text
    assert 'href="/account#tokens"' in page.text


async def test_on_loopback_the_page_says_that_claude_ai_cannot_reach_it(
    database: Database, keyring: Keyring, clock: FakeClock
) -> None:
    """clients.md 11: connectors come in from the internet."""
    site = PeopleSite(database, keyring, clock, public_url="http://127.0.0.1:8000")
    transport = httpx2.ASGITransport(app=site.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        page = await http.get("/")
    assert "this computer only" in page.text
    assert "claude mcp add --transport http gateway http://127.0.0.1:8000/mcp" in page.text
