"""From discovery to tokens: the whole authorization code flow with real pages, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from gateway_proxy.domain.errors import TokenInvalid
from gateway_proxy.domain.tenant import Role
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import list_grants, revoke_grant
from gateway_proxy.storage.sql.users import remove_membership
from tests.support.authorization_server import (
    PASSWORD,
    AuthorizationServer,
    OAuthClient,
    build_authorization_server,
)
from tests.support.clock import FakeClock
from tests.support.form_filling import form_of, submit
from tests.support.people import PUBLIC_URL
from tests.support.visitor import read_forms

APPROVE = {"decision": "approve"}
EMAIL = "ann@example.com"


@pytest.fixture
async def server(database: Database, keyring: Keyring, clock: FakeClock) -> AuthorizationServer:
    """An authorization server with one user."""
    return await build_authorization_server(database, keyring, clock)


@pytest.fixture
async def http(server: AuthorizationServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser and a client in one."""
    async with server.open_http() as http:
        yield http


@pytest.fixture
def client(server: AuthorizationServer, http: httpx2.AsyncClient) -> OAuthClient:
    """A client, not registered yet."""
    return OAuthClient(server, http)


async def test_a_client_registers_the_user_agrees_and_the_token_opens_mcp(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Issue 2: registration, sign-in, consent, token; RFC 6749 §4.1 and §5.1."""
    await client.register()
    answer = await client.authorize(scope="mcp offline_access")
    assert answer["state"] == "some state"
    assert answer["iss"] == PUBLIC_URL
    assert answer["code"].startswith("gw_ac_")

    response = await client.redeem(answer["code"])

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == "mcp offline_access"
    verified = await server.verifier.verify(tokens["access_token"])
    assert verified.principal.user_id == server.user.id
    assert verified.principal.tenant_id == server.tenant.id
    assert verified.principal.audience == f"{PUBLIC_URL}/mcp"


async def test_denial_reaches_the_client_with_state_and_issuer(client: OAuthClient) -> None:
    """RFC 6749 §4.1.2.1, RFC 9207 §2."""
    await client.register()
    answer = await client.authorize(decision="deny")
    assert answer["error"] == "access_denied"
    assert answer["state"] == "some state"
    assert answer["iss"] == PUBLIC_URL
    assert "code" not in answer


async def test_an_anonymous_get_shows_a_page_and_writes_nothing(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Issue 2: anonymous GET answers a page and consumes nothing, however often."""
    await client.register()
    for _ in range(3):
        response = await http.get(f"/oauth/authorize?{client.authorize_query()}")
        assert response.status_code == 200
        assert "password" in response.text
        assert response.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in response.headers
    assert [name for name, _ in server.audit.events] == ["client.registered"]


async def test_consent_is_asked_once_for_the_same_client_host_and_scopes(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """PLAN, security B4: a grant for a superset covers a subset."""
    await client.connect(scope="mcp openai")
    response = await http.get(f"/oauth/authorize?{client.authorize_query(scope='openai')}", follow_redirects=False)
    assert response.status_code == 303
    assert "code=gw_ac_" in response.headers["location"]
    assert len(server.audit.named("consent.given")) == 1


@pytest.mark.parametrize("prompt", ["consent", "select_account", "consent select_account"])
async def test_prompt_consent_always_shows_the_page(client: OAuthClient, http: httpx2.AsyncClient, prompt: str) -> None:
    """Security B4."""
    await client.connect()
    response = await http.get(f"/oauth/authorize?{client.authorize_query(prompt=prompt)}", follow_redirects=False)
    assert response.status_code == 200
    assert "transaction" in response.text
    assert "Use another account" in response.text


@pytest.mark.parametrize("path", ["/oauth/authorize", "/authorize"])
async def test_prompt_login_asks_for_the_password_again_for_every_request(
    client: OAuthClient, http: httpx2.AsyncClient, path: str
) -> None:
    """OpenID Connect Core §3.1.2.1: no session counts, every request asks anew, a failed try is no proof."""
    await client.connect()
    url = f"{path}?{client.authorize_query(prompt='login', state='a b/+%&é')}"
    for _ in range(2):
        page = await http.get(url, follow_redirects=False)
        assert "Sign in again" in page.text
        assert "ann@example.com" in page.text
        wrong = await submit(http, form_of(page, "/sign-in"), {"password": "wrong"})
        assert wrong.status_code == 403
        assert "password" in (await http.get(url, follow_redirects=False)).text
        after = await submit(http, form_of(page, "/sign-in"), {"password": PASSWORD})
        answer = await http.get(after.headers["location"], follow_redirects=False)
        assert "code=gw_ac_" in answer.headers["location"]


async def test_a_password_given_for_one_request_is_none_for_another(
    client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """OpenID Connect Core §3.1.2.1: reauthentication belongs to the request that asked for it."""
    await client.connect()
    first = await http.get(f"/oauth/authorize?{client.authorize_query(prompt='login', state='1')}")
    await submit(http, form_of(first, "/sign-in"), {"password": PASSWORD})
    second = await http.get(f"/oauth/authorize?{client.authorize_query(prompt='login', state='2')}")
    assert "Sign in again" in second.text


async def test_a_password_given_in_another_session_is_no_proof_in_this_one(
    client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """OpenID Connect Core §3.1.2.1: a proof that is kept and put back does not outlive its session."""
    await client.connect()
    url = f"/oauth/authorize?{client.authorize_query(prompt='login')}"
    await submit(http, form_of(await http.get(url), "/sign-in"), {"password": PASSWORD})
    proof = http.cookies["__Host-gw_reauthenticated"]
    http.cookies.delete("__Host-gw_session")
    await submit(http, form_of(await http.get("/sign-in"), "/sign-in"), {"email": EMAIL, "password": PASSWORD})
    http.cookies.delete("__Host-gw_reauthenticated")
    http.cookies.set("__Host-gw_reauthenticated", proof)
    assert "Sign in again" in (await http.get(url)).text


async def test_prompt_login_with_consent_shows_both_pages(client: OAuthClient, http: httpx2.AsyncClient) -> None:
    """OpenID Connect Core §3.1.2.1; a consent page that is shown twice wants no second password."""
    await client.connect()
    page = await http.get(f"/oauth/authorize?{client.authorize_query(prompt='login consent')}")
    after = await submit(http, form_of(page, "/sign-in"), {"password": PASSWORD})
    for _ in range(2):
        consent = await http.get(after.headers["location"], follow_redirects=False)
        assert "transaction" in consent.text
    answer = await submit(http, form_of(consent, "/oauth/authorize"), {"decision": "deny"})
    assert "error=access_denied" in answer.headers["location"]
    assert "Sign in again" in (await http.get(after.headers["location"])).text


@pytest.mark.parametrize(("max_age", "asks"), [("0", True), ("599", True), ("600", False), ("x", False), ("", False)])
async def test_max_age_asks_for_the_password_when_it_was_given_longer_ago(
    client: OAuthClient, http: httpx2.AsyncClient, clock: FakeClock, max_age: str, asks: bool
) -> None:
    """OpenID Connect Core §3.1.2.1; what is no number is no reason to refuse, for OAuth has no such parameter."""
    await client.connect()
    clock.advance(600)
    url = f"/oauth/authorize?{client.authorize_query(max_age=max_age)}"
    response = await http.get(url, follow_redirects=False)
    assert ("Sign in again" in response.text) is asks
    silent = await http.get(url + "&prompt=none", follow_redirects=False)
    assert ("error=login_required" in silent.headers["location"]) is asks
    if asks:
        after = await submit(http, form_of(response, "/sign-in"), {"password": PASSWORD})
        answer = await http.get(after.headers["location"], follow_redirects=False)
        assert "code=gw_ac_" in answer.headers["location"]


async def test_more_scope_or_another_redirect_host_asks_again(client: OAuthClient, http: httpx2.AsyncClient) -> None:
    """Security B4: consent is per client, redirect host and scope."""
    await client.register(redirect_uris=[client.redirect_uri, "https://other.example/callback"])
    await client.connect(scope="mcp")
    more = await http.get(f"/oauth/authorize?{client.authorize_query(scope='mcp openai')}", follow_redirects=False)
    assert more.status_code == 200
    query = client.authorize_query(redirect_uri="https://other.example/callback")
    other = await http.get(f"/oauth/authorize?{query}", follow_redirects=False)
    assert other.status_code == 200


async def test_prompt_none_never_shows_a_page(client: OAuthClient, http: httpx2.AsyncClient) -> None:
    """OpenID Connect Core §3.1.2.1: login_required and consent_required go to the redirect URI."""
    await client.register()
    query = client.authorize_query(prompt="none")
    anonymous = await http.get(f"/oauth/authorize?{query}", follow_redirects=False)
    assert "error=login_required" in anonymous.headers["location"]
    await client.authorize()
    other = client.authorize_query(prompt="none", scope="mcp openai")
    unconsented = await http.get(f"/oauth/authorize?{other}", follow_redirects=False)
    assert "error=consent_required" in unconsented.headers["location"]
    covered = await http.get(f"/oauth/authorize?{query}", follow_redirects=False)
    assert "code=gw_ac_" in covered.headers["location"]


async def test_a_user_of_two_teams_picks_one_and_the_token_belongs_to_it(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Contract, Tokens and scopes: the tenant is picked on the consent page."""
    other = await server.people.tenant("beta")
    await server.people.join(server.user, other)
    await client.register()
    tokens = (await client.redeem((await client.authorize(tenant=other.id))["code"])).json()
    assert (await server.verifier.verify(tokens["access_token"])).tenant.id == other.id


async def test_a_team_that_the_user_does_not_belong_to_cannot_be_picked(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security T1, AS4: the posted tenant is checked against the memberships."""
    mine, foreign = await server.people.tenant("mine"), await server.people.tenant("foreign")
    await server.people.join(server.user, mine)
    await client.register()
    visitor = server.visitor(http, tenant=foreign.id)
    with pytest.raises(AssertionError, match="403"):
        await visitor.authorize(f"{PUBLIC_URL}/oauth/authorize?{client.authorize_query()}")


async def test_one_consent_gives_one_code(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security B4: one code per transaction, also for twenty parallel posts."""
    await client.register()
    await client.get_code(scope="openai")  # signs in
    page = await http.get(f"/oauth/authorize?{client.authorize_query()}")
    form = _consent_form(page.text) | {"decision": "approve"}
    posts = [http.post("/oauth/authorize", data=form, follow_redirects=False) for _ in range(20)]
    statuses = sorted(response.status_code for response in await asyncio.gather(*posts))
    assert statuses == [303] + [400] * 19


async def test_a_consent_form_counts_only_in_the_browser_that_saw_it(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security 27, B3: consent is bound to browser and user."""
    await client.register()
    await client.get_code(scope="openai")
    form = _consent_form((await http.get(f"/oauth/authorize?{client.authorize_query()}")).text)
    async with server.open_http() as elsewhere:
        stranger = OAuthClient(server, elsewhere, client_id=client.client_id)
        await stranger.get_code(scope="openai")  # the same user, signed in in another browser
        own = _consent_form((await elsewhere.get(f"/oauth/authorize?{client.authorize_query()}")).text)
        foreign = await elsewhere.post("/oauth/authorize", data=own | {"transaction": form["transaction"]} | APPROVE)
        assert foreign.status_code == 400
        forged = await elsewhere.post("/oauth/authorize", data=form | APPROVE)
        assert forged.status_code == 403  # the CSRF token is the other browser's


async def test_a_consent_form_expires_after_ten_minutes(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """PLAN: transaction, 10 minutes."""
    await client.register()
    await client.get_code(scope="openai")
    form = _consent_form((await http.get(f"/oauth/authorize?{client.authorize_query()}")).text)
    server.clock.advance(601)
    response = await http.post("/oauth/authorize", data=form | APPROVE)
    assert response.status_code == 400
    assert "too long" in response.text


async def test_a_consent_post_of_another_site_is_refused(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security B3: CSRF token and Origin."""
    await client.register()
    await client.get_code(scope="openai")
    form = _consent_form((await http.get(f"/oauth/authorize?{client.authorize_query()}")).text) | APPROVE
    evil = await http.post("/oauth/authorize", data=form, headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
    tokenless = await http.post("/oauth/authorize", data=form | {"csrf": "x"})
    assert tokenless.status_code == 403


async def test_state_comes_back_byte_for_byte(client: OAuthClient) -> None:
    """RFC 6749 §4.1.2: the exact value received from the client."""
    await client.register()
    state = "a b+c%20&=?#/\\\"'<>é漢~" + "x" * 3000
    assert (await client.authorize(state=state))["state"] == state
    again = await client.authorize(state=None, scope="openai")
    assert "state" not in again


async def test_the_answer_keeps_what_the_redirect_uri_held(client: OAuthClient, http: httpx2.AsyncClient) -> None:
    """RFC 6749 §3.1.2: a query component must be retained."""
    client.redirect_uri = "https://client.example/callback?tenant=a%20b&x"
    await client.register()
    await client.get_code()
    response = await http.get(f"/oauth/authorize?{client.authorize_query()}", follow_redirects=False)
    assert response.headers["location"].startswith("https://client.example/callback?tenant=a%20b&x&code=gw_ac_")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_a_loopback_client_may_use_any_port(client: OAuthClient) -> None:
    """RFC 8252 §7.3; security AS2: localhost included."""
    await client.register(redirect_uris=["http://localhost:33333/callback"], application_type="native")
    client.redirect_uri = "http://localhost:41234/callback"
    tokens = await client.connect()
    assert "access_token" in tokens


async def test_an_omitted_redirect_uri_is_the_only_registered_one(client: OAuthClient) -> None:
    """RFC 6749 §3.1.2.3, §4.1.3: omitted at authorize, it may be omitted at the token endpoint."""
    await client.register()
    answer = await client.authorize(redirect_uri=None)
    assert (await client.redeem(answer["code"], redirect_uri=None)).status_code == 200


async def test_the_root_aliases_serve_the_same_flow(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Contract, Surfaces; clients.md: some clients invent /register, /authorize and /token."""
    body = {
        "redirect_uris": [client.redirect_uri],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    }
    client.client_id = (await http.post("/register", json=body)).json()["client_id"]
    target = await server.visitor(http).authorize(f"{PUBLIC_URL}/authorize?{client.authorize_query()}")
    code = dict(parse_qsl(urlsplit(target).query))["code"]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    response = await http.post(
        "/token", data=fields | {"client_id": client.client_id, "code_verifier": client.verifier}
    )
    assert response.status_code == 200
    assert "refresh_token" not in response.json()  # registered without that grant type (RFC 7591 §2)


async def test_a_registration_that_nobody_agreed_to_expires_after_a_day(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security AS9."""
    await client.register()
    used = OAuthClient(server, http)
    await used.connect()
    server.clock.advance(86401)
    response = await http.get(f"/oauth/authorize?{client.authorize_query()}")
    assert response.status_code == 400
    assert "not known" in response.text
    refused = await client.refresh("gw_rt_x")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert (await http.get(f"/oauth/authorize?{used.authorize_query()}")).status_code == 200


async def test_a_user_without_a_team_can_only_go_back(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """No default tenant, ever (security T5)."""
    await server.people.user("lone@example.com", password=PASSWORD)
    await client.register()
    visitor = server.visitor(http, email="lone@example.com")
    target = await visitor.authorize(f"{PUBLIC_URL}/oauth/authorize?{client.authorize_query()}", decision="deny")
    assert "error=access_denied" in target


async def test_admin_is_never_granted_to_a_client(server: AuthorizationServer, client: OAuthClient) -> None:
    """Contract: no registered or CIMD client can obtain admin, whatever the user's role."""
    owner = await server.people.user("owner@example.com", password=PASSWORD)
    await server.people.join(owner, server.tenant, Role.OWNER)
    await client.register(scope="mcp admin")
    visitor = server.visitor(client.http, email="owner@example.com")
    url = f"{PUBLIC_URL}/oauth/authorize?{client.authorize_query(scope='admin mcp')}"
    code = dict(parse_qsl(urlsplit(await visitor.authorize(url)).query))["code"]
    tokens = (await client.redeem(code)).json()
    assert tokens["scope"] == "mcp"
    assert (await server.verifier.verify(tokens["access_token"])).principal.scopes == {"mcp"}
    grown = await client.refresh(tokens["refresh_token"], scope="mcp admin")
    assert grown.json()["error"] == "invalid_scope"


async def test_losing_the_membership_ends_tokens_and_refreshing(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Security T6; membership must still exist at refresh."""
    tokens = await client.connect()
    code = await client.get_code()
    await server.database.run(
        remove_membership, tenant_id=server.tenant.id, user_id=server.user.id, now=server.clock.now()
    )
    with pytest.raises(TokenInvalid):
        await server.verifier.verify(tokens["access_token"])
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"


def _consent_form(html: str) -> dict[str, str]:
    form = next(form for form in read_forms(html) if "transaction" in form.fields)
    return form.fields


async def test_a_consent_taken_back_is_asked_for_again_and_its_tokens_are_dead(
    server: AuthorizationServer, client: OAuthClient, http: httpx2.AsyncClient
) -> None:
    """Security B4 and the account page: revoking a grant ends every family under it."""
    tokens = await client.connect()
    [(grant, name)] = await server.database.read(list_grants, tenant_id=server.tenant.id, user_id=server.user.id)
    assert name == "Test client"
    owner = {"tenant_id": server.tenant.id, "user_id": server.user.id}
    assert await server.database.run(revoke_grant, **owner, grant_id=grant.id, now=server.clock.now())

    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    again = await http.get(f"/oauth/authorize?{client.authorize_query()}", follow_redirects=False)
    assert again.status_code == 200
