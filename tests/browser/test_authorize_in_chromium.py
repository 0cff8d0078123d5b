"""Signing in and allowing access in a real Chromium (security B1; issue 2, deliverable 3; clients.md failure 3)."""

import base64
import hashlib
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, Route, expect

from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.tenant import Tenant
from tests.browser.conftest import CallbackServer, Visit
from tests.support.people import People
from tests.support.people_site import PeopleSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).decode().rstrip("=")
EMAIL, PASSWORD = "ann@example.com", "correct horse"


async def ann_in(people: People, *slugs: str) -> list[Tenant]:
    """Ann with a password, in these teams."""
    user = await people.user(EMAIL, password=PASSWORD)
    tenants = [await people.tenant(slug) for slug in slugs]
    for tenant in tenants:
        await people.join(user, tenant)
    return tenants


def authorize_url(site: PeopleSite, client: Client) -> str:
    """An authorization request of the client."""
    parameters = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": client.redirect_uris[0],
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "opaque",
        "scope": "mcp offline_access",
    }
    return f"{site.public_url}/oauth/authorize?{urlencode(parameters)}"


async def sign_in(visit: Visit) -> None:
    """Fill the sign-in page in and send it."""
    await visit.page.get_by_label("E-mail address").fill(EMAIL)
    await visit.page.get_by_label("Password").fill(PASSWORD)
    await visit.page.get_by_role("button", name="Sign in").click()


async def test_chromium_follows_consent_to_a_client_on_another_origin(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """B1: form-action covers the whole redirect chain, the client's own hop included."""
    await ann_in(people, "acme")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Allow access").click()
    await expect(visit.page.get_by_role("heading", name="Back at the client")).to_be_visible()
    [answer] = callback_server.answers
    assert answer["code"].startswith("gw_ac_")
    assert (answer["state"], answer["iss"]) == ("opaque", site.public_url)
    assert visit.policy_violations == []


async def test_chromium_follows_sign_in_straight_to_the_client_when_consent_is_on_record(
    visit: Visit, browser: Browser, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """B1: form-action on the sign-in page too; there is no consent page in between the second time."""
    await ann_in(people, "acme")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Allow access").click()
    await visit.page.wait_for_url(f"{callback_server.origin}/done")
    context = await browser.new_context()
    again = Visit(await context.new_page())
    await again.page.goto(authorize_url(site, client))
    await sign_in(again)
    await again.page.wait_for_url(f"{callback_server.origin}/done")
    assert len(callback_server.answers) == 2
    assert again.policy_violations == []
    await context.close()


async def test_without_the_clients_origin_in_form_action_chromium_would_stop(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """The control experiment: the two tests above prove something only because this browser enforces it."""
    await ann_in(people, "acme")
    client = await people.client("Claude", callback_server.redirect_uri)

    async def narrow(route: Route) -> None:
        response = await route.fetch(max_redirects=0)
        policy = response.headers.get("content-security-policy", "").replace(f" {callback_server.origin}", "")
        headers = response.headers | {"content-security-policy": policy}
        await route.fulfill(response=response, headers=headers)

    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.wait_for_url("**/oauth/authorize?**")
    await visit.page.route("**/oauth/authorize?**", narrow)
    await visit.page.reload()
    async with visit.page.expect_console_message(lambda message: "form-action" in message.text):
        await visit.page.get_by_role("button", name="Allow access").click()
    assert visit.policy_violations
    assert callback_server.answers == []


async def test_denying_goes_back_to_the_client(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """RFC 6749 §4.1.2.1; a team need not be picked for that."""
    await ann_in(people, "acme", "beta")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Deny").click()
    await visit.page.wait_for_url(f"{callback_server.origin}/done")
    assert callback_server.answers[0]["error"] == "access_denied"
    assert visit.policy_violations == []


async def test_the_whole_way_is_walked_by_keyboard_alone(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """Accessible: focus starts in the first field; Tab, Space, arrows and Enter do the rest."""
    await ann_in(people, "acme", "beta")
    client = await people.client("Claude", callback_server.redirect_uri)
    keyboard = visit.page.keyboard
    await visit.page.goto(authorize_url(site, client))
    await expect(visit.page.get_by_label("E-mail address")).to_be_focused()
    await keyboard.type(EMAIL)
    await keyboard.press("Tab")
    await keyboard.type(PASSWORD)
    await keyboard.press("Enter")
    await expect(visit.page.get_by_role("radio", name="Acme")).to_be_visible()
    for _ in range(3):  # skip link, brand, first team
        await keyboard.press("Tab")
    await expect(visit.page.get_by_role("radio", name="Acme")).to_be_focused()
    await keyboard.press("ArrowDown")
    await expect(visit.page.get_by_role("radio", name="Beta")).to_be_checked()
    await keyboard.press("Tab")
    await expect(visit.page.get_by_role("button", name="Allow access")).to_be_focused()
    await keyboard.press("Enter")
    await visit.page.wait_for_url(f"{callback_server.origin}/done")
    assert "code" in callback_server.answers[0]


async def test_allowing_without_picking_a_team_is_held_back_by_the_page(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """A click too fast opens no team."""
    await ann_in(people, "acme", "beta")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Allow access").click()
    await expect(visit.page.get_by_role("heading", level=1)).to_contain_text("Allow Claude")
    assert await visit.page.locator("input:invalid").count() == 2
    assert callback_server.answers == []


async def test_a_wrong_password_is_announced_and_focus_is_where_it_is_needed(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """role=alert, the address kept, the cursor in the password."""
    await ann_in(people, "acme")
    await visit.page.goto(f"{site.public_url}/sign-in")
    await visit.page.get_by_label("E-mail address").fill(EMAIL)
    await visit.page.get_by_label("Password").fill("wrong")
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.get_by_role("alert")).to_contain_text("not right")
    await expect(visit.page.get_by_label("E-mail address")).to_have_value(EMAIL)
    await expect(visit.page.get_by_label("Password")).to_be_focused()
    await sign_in(visit)
    await expect(visit.page.get_by_role("heading", name="Your account")).to_be_visible()
    assert visit.policy_violations == []


async def test_prompt_login_asks_a_signed_in_person_for_the_password(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """OpenID Connect Core §3.1.2.1: the cursor is in the password, then the answer goes straight to the client."""
    await ann_in(people, "acme")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Allow access").click()
    await visit.page.wait_for_url(f"{callback_server.origin}/done")
    for count in (2, 3):
        await visit.page.goto(authorize_url(site, client) + "&prompt=login&x=%22'|{}`")
        await expect(visit.page.get_by_role("heading", name="Sign in again")).to_be_visible()
        await expect(visit.page.get_by_label("E-mail address")).to_have_value(EMAIL)
        await expect(visit.page.get_by_label("Password")).to_be_focused()
        await visit.page.keyboard.type(PASSWORD)
        await visit.page.keyboard.press("Enter")
        await visit.page.wait_for_url(f"{callback_server.origin}/done")
        assert len(callback_server.answers) == count
    assert visit.policy_violations == []


async def test_an_error_of_a_new_client_is_a_page_that_names_the_host(visit: Visit, site: PeopleSite) -> None:
    """RFC 9700 §4.11.2, ADR 13: Chromium says that a window navigates, and stays until the person goes on."""
    long = "a" * 60 + "." + "b" * 60 + ".invalid"
    body = {"client_name": "Stranger", "redirect_uris": ["https://client.invalid/cb", f"https://{long}/cb"]}
    registered = await visit.page.request.post(f"{site.public_url}/oauth/register", data=body)
    query = {"client_id": (await registered.json())["client_id"], "response_type": "token", "state": "s"}
    query["redirect_uri"] = "https://client.invalid/cb"
    await visit.page.goto(f"{site.public_url}/oauth/authorize?{urlencode(query)}")
    await expect(visit.page.get_by_role("heading", name="This request cannot be used")).to_be_visible()
    link = visit.page.get_by_role("link", name="Go on to client.invalid")
    address = await link.get_attribute("href") or ""
    assert address.startswith("https://client.invalid/cb?error=unsupported_response_type")
    assert "state=s&iss=" in address
    await visit.page.set_viewport_size({"width": 320, "height": 640})
    await visit.page.goto(
        f"{site.public_url}/oauth/authorize?{urlencode(query | {'redirect_uri': f'https://{long}/cb'})}"
    )
    await expect(visit.page.get_by_role("link", name=f"Go on to {long}")).to_be_visible()
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_two_tabs_with_the_same_request_both_work(
    visit: Visit, site: PeopleSite, people: People, callback_server: CallbackServer
) -> None:
    """Security incident 30: the second GET does not spoil the first page's form."""
    await ann_in(people, "acme")
    client = await people.client("Claude", callback_server.redirect_uri)
    await visit.page.goto(authorize_url(site, client))
    second = await visit.page.context.new_page()
    await second.goto(authorize_url(site, client))
    await sign_in(visit)
    await visit.page.get_by_role("button", name="Allow access").click()
    await visit.page.wait_for_url(f"{callback_server.origin}/done")
    other = Visit(second)
    await sign_in(other)
    await second.wait_for_url(f"{callback_server.origin}/done")
    assert len(callback_server.answers) == 2
