"""Client ID Metadata Documents: which URLs count, what is read, what is kept, and when the built-in copies serve."""

import json
from typing import Any

import httpx2
import pytest

from gateway_proxy.oauth.client_metadata import is_document_url
from tests.support.authorization_server import AuthorizationServer, OAuthClient

DOCUMENT_URL = "https://app.example/oauth/client.json"
CLAUDE = "https://claude.ai/oauth/mcp-oauth-client-metadata"
CLAUDE_CODE = "https://claude.ai/oauth/claude-code-client-metadata"
CHATGPT = "https://chatgpt.com/oauth/client.json"


def document(**changed: Any) -> bytes:
    """A good document, but for what is changed."""
    fields: dict[str, Any] = {
        "client_id": DOCUMENT_URL,
        "client_name": "Example app",
        "redirect_uris": ["https://app.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }
    return json.dumps(fields | changed).encode()


@pytest.fixture
def app(server: AuthorizationServer, http: httpx2.AsyncClient) -> OAuthClient:
    """A client known by its document."""
    server.documents.served[DOCUMENT_URL] = document()
    return OAuthClient(server, http, "https://app.example/callback", DOCUMENT_URL)


async def test_a_document_client_connects_and_refreshes_without_registration(app: OAuthClient) -> None:
    """MCP 2026-07-28, client registration: the URL is the client id."""
    tokens = await app.connect()
    assert (await app.refresh(tokens["refresh_token"])).status_code == 200
    assert app.server.documents.fetched == [DOCUMENT_URL]


@pytest.mark.parametrize(
    ("client_id", "redirect_uri"),
    [
        (CLAUDE, "https://claude.ai/api/mcp/auth_callback"),
        (CLAUDE, "https://claude.com/api/mcp/auth_callback"),
        (CLAUDE_CODE, "http://localhost:54321/callback"),
        (CLAUDE_CODE, "http://127.0.0.1:54321/callback"),
        (CHATGPT, "https://chatgpt.com/connector_platform_oauth_redirect"),
    ],
)
async def test_a_well_known_client_connects_although_its_document_cannot_be_fetched(
    server: AuthorizationServer, http: httpx2.AsyncClient, client_id: str, redirect_uri: str
) -> None:
    """clients.md 4 and failure mode 20: a built-in copy serves when the fetch is refused."""
    tokens = await OAuthClient(server, http, redirect_uri, client_id).connect()
    assert "refresh_token" in tokens


async def test_a_document_that_prefers_a_method_and_also_takes_none_is_a_public_client(app: OAuthClient) -> None:
    """OpenID Connect RP Metadata Choices 1.0 §2: ChatGPT prefers private_key_jwt, and does without where it must."""
    app.server.documents.served[DOCUMENT_URL] = document(
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_methods_supported=["none", "private_key_jwt"],
        token_endpoint_auth_signing_alg="RS256",
        jwks_uri="https://app.example/oauth/jwks.json",
    )
    tokens = await app.connect()
    assert (await app.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_document_that_can_be_fetched_wins_over_the_copy(
    server: AuthorizationServer, http: httpx2.AsyncClient
) -> None:
    """The copy is only for the case that the fetch fails."""
    server.documents.served[CLAUDE] = document(client_id=CLAUDE, redirect_uris=["https://claude.ai/new"])
    client = OAuthClient(server, http, "https://claude.ai/new", CLAUDE)
    assert (await http.get(f"/oauth/authorize?{client.authorize_query()}")).status_code == 200


async def test_consent_for_a_loopback_document_client_is_always_asked(
    server: AuthorizationServer, http: httpx2.AsyncClient
) -> None:
    """Security B4: any local program can claim that id."""
    client = OAuthClient(server, http, "http://localhost:54321/callback", CLAUDE_CODE)
    await client.connect()
    again = await http.get(f"/oauth/authorize?{client.authorize_query()}", follow_redirects=False)
    assert again.status_code == 200
    assert "transaction" in again.text


@pytest.mark.parametrize(
    "body",
    [
        document(client_id="https://app.example/oauth/other.json"),
        document(client_id=None),
        document(token_endpoint_auth_method="client_secret_basic"),
        document(token_endpoint_auth_method="private_key_jwt"),
        document(
            token_endpoint_auth_method="private_key_jwt", token_endpoint_auth_methods_supported=["private_key_jwt"]
        ),
        document(token_endpoint_auth_method="private_key_jwt", token_endpoint_auth_methods_supported="none"),
        document(client_secret="x"),
        document(redirect_uris=["http://evil.example/"]),
        document(redirect_uris=[]),
        document(client_name="\u202e"),
        document(grant_types=["client_credentials"]),
        b"[]",
        b"<html>challenge</html>",
        b"",
    ],
)
async def test_a_document_that_does_not_fit_is_explained_on_a_page(
    app: OAuthClient, http: httpx2.AsyncClient, body: bytes
) -> None:
    """Security AS10; never redirected."""
    app.server.documents.served[DOCUMENT_URL] = body
    response = await http.get(f"/oauth/authorize?{app.authorize_query()}", follow_redirects=False)
    assert response.status_code == 400
    assert "text/html" in response.headers["content-type"]
    assert "app.example" in response.text


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("application/client+json", 200),
        ("text/html", 400),
        ("text/plain", 400),
    ],
)
async def test_a_document_says_itself_that_it_is_json(
    app: OAuthClient, http: httpx2.AsyncClient, content_type: str, status: int
) -> None:
    """Security AS10: a file that somebody uploaded to a host speaks for its uploader, not for the host."""
    app.server.documents.headers = {"content-type": content_type}
    assert (await http.get(f"/oauth/authorize?{app.authorize_query()}")).status_code == status


async def test_refusals_are_remembered_too(server: AuthorizationServer, http: httpx2.AsyncClient) -> None:
    """Security AS10: negative cache."""
    client = OAuthClient(server, http, "https://app.example/callback", DOCUMENT_URL)
    for _ in range(3):
        assert (await http.get(f"/oauth/authorize?{client.authorize_query()}")).status_code == 400
    assert server.documents.fetched == [DOCUMENT_URL]
    server.documents.served[DOCUMENT_URL] = document()
    server.clock.advance(301)
    assert (await http.get(f"/oauth/authorize?{client.authorize_query()}")).status_code == 200


@pytest.mark.parametrize(
    ("cache_control", "fresh_for"),
    [("max-age=900", 900), ("public, max-age=999999999", 86400), ("no-store", 3600), ("max-age=0", 300), (None, 3600)],
)
async def test_a_document_is_kept_as_its_host_says_but_never_over_a_day(
    app: OAuthClient, http: httpx2.AsyncClient, cache_control: str | None, fresh_for: int
) -> None:
    """Security AS10: cache ≤ 24 h."""
    app.server.documents.headers = {} if cache_control is None else {"cache-control": cache_control}
    url = f"/oauth/authorize?{app.authorize_query()}"
    await http.get(url)
    app.server.clock.advance(fresh_for - 1)
    await http.get(url)
    assert len(app.server.documents.fetched) == 1
    app.server.clock.advance(1)
    await http.get(url)
    assert len(app.server.documents.fetched) == 2


async def test_fetches_that_one_address_causes_are_limited(
    server: AuthorizationServer, http: httpx2.AsyncClient
) -> None:
    """Security AS10: per-address limit; the page says when to come back."""
    statuses = []
    for number in range(31):
        client = OAuthClient(server, http, client_id=f"https://app.example/{number}")
        response = await http.get(f"/oauth/authorize?{client.authorize_query()}")
        statuses.append(response.status_code)
    assert statuses == [400] * 30 + [429]
    assert response.headers["retry-after"]


@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        (DOCUMENT_URL, True),
        ("https://app.example:8443/c", True),
        ("https://app.example/c?v=1", True),
        ("https://app.example", False),
        ("https://app.example/", False),
        ("http://app.example/c", False),
        ("https://user@app.example/c", False),
        ("https://app.example/a/../c", False),
        ("https://app.example/./c", False),
        ("https://app.example/a/%2e%2E/c", False),
        ("https://app.example/c#f", False),
        ("https://app.example/" + "x" * 2048, False),
        ("HTTPS://app.example/c", False),
        ("https://app.example/c\n", False),
        ("gwc_abc", False),
    ],
)
def test_only_a_clean_https_url_with_a_path_is_a_document(client_id: str, expected: bool) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3."""
    assert is_document_url(client_id) is expected


async def test_a_document_client_that_nobody_agreed_to_is_unknown_at_the_token_endpoint(app: OAuthClient) -> None:
    """The token endpoint never fetches."""
    response = await app.refresh("gw_rt_x")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert app.server.documents.fetched == []
