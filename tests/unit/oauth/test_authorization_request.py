"""What an authorization request may ask, what is told to the client, and what is only shown on a page."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.authorization_server import CALLBACK, AuthorizationServer, OAuthClient, build_authorization_server
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL


async def ask(client: OAuthClient, query: str) -> tuple[int, dict[str, str], str]:
    """Status, what the redirect to the client says (if there is one), and the page."""
    response = await client.http.get(f"/oauth/authorize?{query}", follow_redirects=False)
    location = response.headers.get("location", "")
    if location:
        assert location.startswith(CALLBACK + "?")
    return response.status_code, dict(parse_qsl(urlsplit(location).query)), response.text


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"code_challenge": "x" * 44}, "invalid_request"),
        ({"code_challenge": "=" * 43}, "invalid_request"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}/mcp/x"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}/MCP"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}/mcp//"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}/mcp#f"}, "invalid_target"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://evil.example/r"}, "request_uri_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_reported_to_the_client(
    client: OAuthClient, changed: dict[str, str | None], error: str
) -> None:
    """RFC 6749 §4.1.2.1, RFC 7636 §4.4.1, RFC 8707 §2, RFC 9101 §6; 303 with state and iss."""
    status, answer, _ = await ask(client, client.authorize_query(**changed))
    assert status == 303
    assert answer["error"] == error
    assert answer["state"] == "some state"
    assert answer["iss"] == PUBLIC_URL
    assert answer["error_description"]


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "gwc_unknown"},
        {"client_id": "\u202e"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x"},
        {"redirect_uri": CALLBACK + "#f"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
async def test_a_bad_client_or_redirect_uri_is_a_page_and_never_a_redirect(
    client: OAuthClient, changed: dict[str, str | None]
) -> None:
    """Security AS2, RFC 6749 §4.1.2.1; the page follows all rules for pages."""
    response = await client.http.get(f"/oauth/authorize?{client.authorize_query(**changed)}", follow_redirects=False)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "evil.example" not in response.text


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_client_or_redirect_uri_is_a_page(client: OAuthClient, name: str) -> None:
    """RFC 6749 §3.1: even when both are the same."""
    value = client.client_id if name == "client_id" else CALLBACK
    status, answer, _ = await ask(client, f"{client.authorize_query()}&{name}={value}")
    assert (status, answer) == (400, {})


@pytest.mark.parametrize("name", ["state", "scope", "response_type", "code_challenge", "code_challenge_method", "x"])
async def test_any_other_repeated_parameter_is_reported(client: OAuthClient, name: str) -> None:
    """RFC 6749 §3.1."""
    status, answer, _ = await ask(client, f"{client.authorize_query()}&{name}=1&{name}=2")
    assert (status, answer["error"]) == (303, "invalid_request")
    assert ("state" in answer) is (name != "state")


async def test_resources_may_repeat_only_identically(client: OAuthClient) -> None:
    """RFC 8707 §2; PLAN: identical or invalid_target."""
    same = f"{client.authorize_query()}&resource={PUBLIC_URL}/mcp"
    assert (await ask(client, same))[0] == 200
    different = f"{client.authorize_query()}&resource={PUBLIC_URL}/v1"
    assert (await ask(client, different))[1]["error"] == "invalid_target"


@pytest.mark.parametrize(
    "query", ["client_id=%FF", "client_id=%00", "client_id=a&" + "x=1&" * 80, "client_id=" + "a" * 16_385]
)
async def test_a_query_that_cannot_be_read_is_a_page(client: OAuthClient, query: str) -> None:
    """Security AS13."""
    assert (await ask(client, query))[0] == 400


async def test_an_oversized_state_is_refused_and_not_echoed(client: OAuthClient) -> None:
    """PLAN: state ≤ 4 KiB."""
    assert (await ask(client, client.authorize_query(state="x" * 4096)))[0] == 200
    _, answer, _ = await ask(client, client.authorize_query(state="x" * 4097))
    assert answer["error"] == "invalid_request"
    assert "state" not in answer


async def test_an_ambiguous_omitted_redirect_uri_is_a_page(client: OAuthClient) -> None:
    """RFC 6749 §3.1.2.3: it may be omitted only when exactly one is registered."""
    assert (await ask(client, client.authorize_query(redirect_uri=None)))[0] == 200
    await client.register(redirect_uris=[CALLBACK, "https://client.example/other"])
    assert (await ask(client, client.authorize_query(redirect_uri=None)))[0] == 400


@pytest.mark.parametrize(
    ("registered", "asked", "granted"),
    [
        (None, None, "mcp"),
        (None, "", "mcp"),
        (None, " offline_access", "mcp offline_access"),
        (None, "mcp openai offline_access", "mcp openai offline_access"),
        (None, "openai\tmcp\nunknown claudeai", "mcp openai"),
        (None, "unknown", "mcp"),
        (None, "admin", "mcp"),
        ("mcp offline_access", "mcp openai", "mcp"),
        ("mcp", "mcp offline_access", "mcp offline_access"),
        ("unheard-of", "openai", "openai"),
    ],
)
async def test_scope_is_split_on_any_blank_and_unknown_names_are_dropped(
    client: OAuthClient, registered: str | None, asked: str | None, granted: str
) -> None:
    """Issue 2: tolerant of a scope-less registration; clients.md 5 and failure mode 13; admin is never obtainable."""
    await client.register(**({} if registered is None else {"scope": registered}))
    assert (await client.connect(scope=asked))["scope"] == granted


async def test_a_scope_that_the_client_ruled_out_itself_is_refused(client: OAuthClient) -> None:
    """RFC 7591 §2: `scope` limits the client; here the resource's default is outside of it."""
    await client.register(scope="openai")
    _, answer, _ = await ask(client, client.authorize_query(scope="mcp"))
    assert answer["error"] == "invalid_request"
    assert "'scope'" in answer["error_description"]


async def test_the_errors_of_a_request_never_reach_a_redirect_when_the_client_is_unknown(client: OAuthClient) -> None:
    """Security AS2: two faults at once."""
    query = client.authorize_query(client_id="gwc_unknown", response_type="token")
    assert (await ask(client, query))[0] == 400


async def test_markup_in_a_client_name_is_text(server: AuthorizationServer, client: OAuthClient) -> None:
    """Security incident 29."""
    await client.register(client_name="<script>alert(1)</script>")
    _, _, page = await ask(client, client.authorize_query())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("method", ["HEAD", "PUT", "OPTIONS", "DELETE"])
async def test_only_get_and_post_reach_the_authorization_endpoint(client: OAuthClient, method: str) -> None:
    """A HEAD must not issue a code."""
    response = await client.http.request(method, f"/oauth/authorize?{client.authorize_query()}")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("body", [b"", b"csrf=%FF", b"transaction=x", b"csrf=x&csrf=y", b"a" * 70_000, b"--x\r\n"])
async def test_a_broken_consent_post_is_a_page(client: OAuthClient, body: bytes) -> None:
    """Security AS13."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": PUBLIC_URL}
    response = await client.http.post("/oauth/authorize", content=body, headers=headers)
    assert response.status_code in (400, 403, 413)
    assert response.headers["content-type"].startswith("text/html")


async def test_authorization_requests_of_one_address_are_limited(
    sqlite_url: str, keyring: Keyring, clock: FakeClock
) -> None:
    """Security L2."""
    database = Database(sqlite_url)
    server = await build_authorization_server(database, keyring, clock, authorize_limit=2)
    async with server.open_http() as http:
        client = OAuthClient(server, http)
        await client.register()
        statuses = [(await http.get(f"/oauth/authorize?{client.authorize_query()}")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
    await database.close()


NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def test_a_person_is_asked_before_an_error_sends_them_to_a_site_that_nobody_agreed_to(
    client: OAuthClient,
) -> None:
    """RFC 9700 §4.11.2, ADR 13: no open redirector; the whole answer is behind a link that names the host."""
    query = client.authorize_query(code_challenge_method="plain")
    response = await client.http.get(f"/oauth/authorize?{query}", headers=NAVIGATION, follow_redirects=False)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "client.example" in response.text
    [link] = [unescape(href) for href in re.findall(r'href="(https:[^"]+)"', response.text)]
    answer = dict(parse_qsl(urlsplit(link).query))
    assert link.startswith(CALLBACK + "?")
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", "some state", PUBLIC_URL)


@pytest.mark.parametrize("prompt", ["none", "none login"])
async def test_silence_is_no_way_around_the_question(client: OAuthClient, prompt: str) -> None:
    """RFC 9700 §4.11.2 names prompt=none as an attack of its own."""
    query = client.authorize_query(prompt=prompt)
    response = await client.http.get(f"/oauth/authorize?{query}", headers=NAVIGATION, follow_redirects=False)
    assert response.status_code == 400
    assert "location" not in response.headers


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, NAVIGATION | {"Sec-Fetch-Dest": "iframe"}]
)
async def test_what_no_window_asks_for_is_redirected_as_ever(client: OAuthClient, headers: dict[str, str]) -> None:
    """RFC 6749 §4.1.2.1: for client libraries, servers that look first, and frames of silent authentication."""
    query = client.authorize_query(code_challenge_method="plain")
    response = await client.http.get(f"/oauth/authorize?{query}", headers=headers, follow_redirects=False)
    assert response.status_code == 303


async def test_the_errors_of_a_client_that_somebody_agreed_to_are_redirected_for_everybody(client: OAuthClient) -> None:
    """ADR 13: consent is what makes a registration trusted."""
    await client.authorize()
    client.http.cookies.clear()
    query = client.authorize_query(code_challenge_method="plain")
    response = await client.http.get(f"/oauth/authorize?{query}", headers=NAVIGATION, follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"].startswith(CALLBACK)


@pytest.mark.parametrize(
    "redirect_uri",
    ["http://127.0.0.1:4711/cb", "http://localhost/cb", "cursor://cb", "https://claude.ai/api/mcp/auth_callback"],
)
async def test_errors_go_to_the_persons_own_programs_and_to_known_clients_at_once(
    client: OAuthClient, redirect_uri: str
) -> None:
    """ADR 13: those addresses are no stranger's site."""
    client.redirect_uri = redirect_uri
    await client.register()
    query = client.authorize_query(code_challenge_method="plain")
    response = await client.http.get(f"/oauth/authorize?{query}", headers=NAVIGATION, follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"].startswith(redirect_uri)


async def test_who_denies_on_the_consent_page_is_sent_back_at_once(client: OAuthClient) -> None:
    """ADR 13: the page has shown where the answer goes."""
    client.http.headers.update(NAVIGATION)
    answer = await client.authorize(decision="deny")
    assert answer["error"] == "access_denied"
