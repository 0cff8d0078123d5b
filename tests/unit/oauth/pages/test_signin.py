"""The sign-in page within an authorization request (issue 2, deliverable 3; openai-clients §1c.4)."""

import base64
import hashlib
from urllib.parse import urlencode

import httpx2
import pytest

from gateway_proxy.domain.oauth import Client
from tests.support.clock import FakeClock
from tests.support.form_filling import form_of, sign_in, submit
from tests.support.people import People
from tests.support.people_site import PeopleSite

CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).decode().rstrip("=")
FILLED = {"email": "ann@example.com", "password": "correct horse"}


def authorize_url(client: Client, **more: str) -> str:
    """An authorization request of this client."""
    parameters = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": client.redirect_uris[0],
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "a/b+c ü&=",
        "scope": "mcp offline_access",
    }
    return "/oauth/authorize?" + urlencode(parameters | more)


async def test_an_anonymous_request_gets_the_sign_in_page_and_leads_back_to_itself(
    http: httpx2.AsyncClient, people: People
) -> None:
    """The query comes back byte for byte, so that state stays what it was; 303 after POST."""
    await people.user(password="correct horse")
    url = authorize_url(await people.client())
    page = await http.get(url)
    assert page.status_code == 200
    response = await submit(http, form_of(page, "/sign-in"), FILLED)
    assert (response.status_code, response.headers["location"]) == (303, url)
    assert response.headers["cache-control"] == "no-store"


async def test_an_anonymous_get_can_be_repeated_at_will(http: httpx2.AsyncClient, people: People) -> None:
    """Open WebUI fetches the URL itself, without cookies, before it sends the user there."""
    await people.user(password="correct horse")
    url = authorize_url(await people.client())
    first = await http.get(url)
    await http.get(url)
    assert (await submit(http, form_of(first, "/sign-in"), FILLED)).status_code == 303


async def test_form_action_names_the_client_also_when_the_page_is_shown_again(
    http: httpx2.AsyncClient, people: People
) -> None:
    """B1: on the sign-in page too, as its redirects may end at the client."""
    await people.user(password="correct horse")
    page = await http.get(authorize_url(await people.client()))
    again = await submit(http, form_of(page, "/sign-in"), FILLED | {"password": "wrong"})
    assert again.status_code == 403
    for shown in (page, again):
        assert "form-action 'self' https://client.example;" in shown.headers["content-security-policy"]
        assert "Claude" in shown.text
    assert (await submit(http, form_of(again, "/sign-in"), FILLED)).status_code == 303


async def test_a_failure_says_nothing_about_the_account_and_repeats_no_password(
    http: httpx2.AsyncClient, people: People
) -> None:
    """L1: the same page for an unknown address and for a wrong password."""
    await people.user(password="correct horse")
    texts = []
    for email in ("ann@example.com", "nobody@example.com"):
        page = await http.get("/sign-in")
        response = await submit(http, form_of(page, "/sign-in"), {"email": email, "password": "s3cret-guess"})
        assert response.status_code == 403
        assert "s3cret-guess" not in response.text
        fields = form_of(response, "/sign-in").fields
        texts.append(response.text.replace(fields["csrf"], "").replace(fields["next"], "").replace(email, ""))
    assert texts[0] == texts[1]


async def test_too_many_tries_are_429_with_retry_after(http: httpx2.AsyncClient, people: People) -> None:
    """L1, L2."""
    await people.user(password="correct horse")
    for _ in range(10):
        await sign_in(http, password="wrong")
    response = await sign_in(http)
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 300
    assert "Too many tries" in response.text


async def test_a_sign_in_that_took_too_long_says_so(http: httpx2.AsyncClient, people: People, clock: FakeClock) -> None:
    """The way back is good for ten minutes."""
    await people.user(password="correct horse")
    page = await http.get(authorize_url(await people.client()))
    clock.advance(601)
    response = await submit(http, form_of(page, "/sign-in"), FILLED)
    assert response.status_code == 400
    assert "connect again" in response.text


@pytest.mark.parametrize("given", ["https://evil.example", "//evil.example", "/account", ""])
async def test_a_next_step_that_we_did_not_sign_is_not_followed(
    http: httpx2.AsyncClient, people: People, given: str
) -> None:
    """B6: no open redirect."""
    await people.user(password="correct horse")
    page = await http.get("/sign-in", params={"next": given})
    assert (await submit(http, form_of(page, "/sign-in"), FILLED)).headers["location"] == "/account"
    assert (await http.get("/sign-in", params={"next": given})).headers["location"] == "/account"


async def test_a_multipart_form_is_refused(http: httpx2.AsyncClient) -> None:
    """Security incident 26."""
    response = await http.post("/sign-in", files={"email": ("x", b"y")})
    assert response.status_code == 400


async def test_signing_in_is_on_the_audit_trail(http: httpx2.AsyncClient, site: PeopleSite, people: People) -> None:
    """A3: ok and fail."""
    await people.user(password="correct horse")
    await sign_in(http, password="wrong")
    await sign_in(http)
    assert await site.events() == ["sign_in.refused", "sign_in.accepted"]
