"""The consent page (security B4; issue 2, deliverable 3)."""

from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.oauth.consent import Destination
from tests.support.form_filling import form_of, sign_in, submit
from tests.support.people import People
from tests.unit.oauth.pages.test_signin import authorize_url

AUTHORIZE = "/oauth/authorize"


async def two_teams(people: People) -> tuple[Tenant, Tenant]:
    """Ann, in two teams."""
    user = await people.user(password="correct horse")
    acme, beta = await people.tenant("acme"), await people.tenant("beta")
    await people.join(user, acme)
    await people.join(user, beta)
    return acme, beta


async def test_the_page_says_who_asks_for_what_where_to_and_as_whom(http: httpx2.AsyncClient, people: People) -> None:
    """B4: name marked unverified, redirect host, scopes in plain words, who is signed in."""
    await two_teams(people)
    client = await people.client("Claude <b>&amp;", "https://client.example/callback")
    await sign_in(http)
    page = await http.get(authorize_url(client))
    assert "Claude &lt;b&gt;&amp;amp;" in page.text
    for words in ("unverified", "client.example", "call the tools", "while you are away", "ann@example.com"):
        assert words in page.text
    assert "form-action 'self' https://client.example;" in page.headers["content-security-policy"]
    assert set(form_of(page, AUTHORIZE).buttons) == {"Allow access", "Deny"}


async def test_with_several_teams_one_has_to_be_picked(http: httpx2.AsyncClient, people: People) -> None:
    """Contract: a user in several tenants picks one; none is chosen beforehand."""
    acme, beta = await two_teams(people)
    await sign_in(http)
    page = await http.get(authorize_url(await people.client()))
    form = form_of(page, AUTHORIZE)
    assert form.radios == {"tenant_id": [acme.id, beta.id]}
    assert "tenant_id" not in form.fields
    refused = await submit(http, form, {"decision": "approve"})
    assert refused.status_code in {400, 403}
    response = await submit(http, form, {"decision": "approve", "tenant_id": beta.id})
    location = urlsplit(response.headers["location"])
    assert (response.status_code, location.netloc) == (303, "client.example")
    assert set(parse_qs(location.query)) == {"code", "state", "iss"}


async def test_with_one_team_there_is_nothing_to_pick(http: httpx2.AsyncClient, people: People) -> None:
    """The team is named all the same."""
    user, acme = await people.user(password="correct horse"), await people.tenant("acme", "Acme Research")
    await people.join(user, acme)
    await sign_in(http)
    page = await http.get(authorize_url(await people.client()))
    assert "Acme Research" in page.text
    assert form_of(page, AUTHORIZE).fields["tenant_id"] == acme.id


async def test_without_a_team_only_denying_is_possible(http: httpx2.AsyncClient, people: People) -> None:
    """And the page says whom to ask."""
    await people.user(password="correct horse")
    await sign_in(http)
    page = await http.get(authorize_url(await people.client()))
    form = form_of(page, AUTHORIZE)
    assert set(form.buttons) == {"Deny and go back"}
    response = await submit(http, form, {"decision": "deny"})
    assert "error=access_denied" in response.headers["location"]


async def test_another_account_can_be_used_for_the_same_request(http: httpx2.AsyncClient, people: People) -> None:
    """Signing out leads back to the request, now anonymous."""
    await two_teams(people)
    url = authorize_url(await people.client())
    await sign_in(http)
    response = await submit(http, form_of(await http.get(url), "/sign-out"))
    assert (response.status_code, response.headers["location"]) == (303, url)
    page = await http.get(url)
    assert "password" in form_of(page, "/sign-in").fields


@pytest.mark.parametrize(
    ("redirect_uri", "host", "words"),
    [
        ("https://client.example:8443/cb", "client.example:8443", "this site"),
        ("http://localhost:3000/cb", "localhost", "program on this computer"),
        ("cursor://anysphere.cursor-mcp/cb", "cursor:", "app on this device"),
    ],
)
def test_the_destination_is_put_in_words(redirect_uri: str, host: str, words: str) -> None:
    """The one thing about a client that it cannot make up."""
    destination = Destination.of(redirect_uri)
    assert destination.host == host
    assert words in destination.explanation
