"""The documents that clients read first (RFC 8414, RFC 9728), and the well-known paths that are not there."""

import httpx2
import pytest

from tests.support.authorization_server import AuthorizationServer
from tests.support.people import PUBLIC_URL


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/mcp",
    ],
)
async def test_the_server_metadata_is_the_same_at_every_path(http: httpx2.AsyncClient, path: str) -> None:
    """Contract, Surfaces; issue 2 deliverable 3; clients.md 4, 5 and failure modes 6 to 8."""
    response = await http.get(path, headers={"Origin": "https://anyone.example"})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    metadata = response.json()
    assert metadata["issuer"] == PUBLIC_URL
    assert metadata["authorization_endpoint"] == f"{PUBLIC_URL}/oauth/authorize"
    assert metadata["token_endpoint"] == f"{PUBLIC_URL}/oauth/token"
    assert metadata["registration_endpoint"] == f"{PUBLIC_URL}/oauth/register"
    assert metadata["revocation_endpoint"] == f"{PUBLIC_URL}/oauth/revoke"
    assert metadata["introspection_endpoint"] == f"{PUBLIC_URL}/oauth/introspect"
    assert metadata["response_types_supported"] == ["code"]
    assert metadata["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    methods = {"none", "client_secret_post", "client_secret_basic"}
    assert set(metadata["token_endpoint_auth_methods_supported"]) == methods
    assert metadata["scopes_supported"] == ["mcp", "openai", "offline_access"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["client_id_metadata_document_supported"] is True
    assert "admin" not in response.text


@pytest.mark.parametrize(
    ("path", "resource", "scope"),
    [
        ("/.well-known/oauth-protected-resource", "/mcp", "mcp"),
        ("/.well-known/oauth-protected-resource/mcp", "/mcp", "mcp"),
        ("/.well-known/oauth-protected-resource/sse", "/sse", "mcp"),
        ("/.well-known/oauth-protected-resource/v1", "/v1", "openai"),
    ],
)
async def test_each_resource_names_its_server_and_scope(
    http: httpx2.AsyncClient, path: str, resource: str, scope: str
) -> None:
    """RFC 9728 §2; contract, Surfaces; no offline_access here (mcp.md §2)."""
    response = await http.get(path, headers={"Origin": "https://anyone.example"})
    assert response.headers["access-control-allow-origin"] == "*"
    document = response.json()
    assert document["resource"] == PUBLIC_URL + resource
    assert document["authorization_servers"] == [PUBLIC_URL]
    assert document["scopes_supported"] == [scope]
    assert document["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server/v1",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/jwks.json",
        "/.well-known/",
    ],
)
async def test_an_unknown_well_known_path_is_a_clean_404(http: httpx2.AsyncClient, path: str) -> None:
    """mcp.md §6: 404 (never 5xx, never HTML 200), with CORS."""
    response = await http.get(path, headers={"Origin": "https://anyone.example"})
    assert response.status_code == 404
    assert response.json()["error"] == "not_found"
    assert response.headers["access-control-allow-origin"] == "*"


async def test_a_foreign_host_header_does_not_change_the_issuer(server: AuthorizationServer) -> None:
    """Security 40: links only from the public URL."""
    async with server.open_http() as http:
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
        response = await http.get("/.well-known/oauth-authorization-server", headers=headers)
        assert "evil.example" not in response.text


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/register", "/oauth/revoke", "/token", "/register"])
async def test_browser_clients_may_call_the_machine_endpoints(http: httpx2.AsyncClient, path: str) -> None:
    """Security C1: CORS with MCP-Protocol-Version allowed, errors included."""
    preflight = {
        "Origin": "https://inspector.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,mcp-protocol-version",
    }
    response = await http.options(path, headers=preflight)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "mcp-protocol-version" in response.headers["access-control-allow-headers"].lower()
    refused = await http.post(path, headers={"Origin": "https://inspector.example"})
    assert refused.status_code in (400, 401)
    assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/oauth/authorize", "/authorize"])
async def test_the_authorization_endpoint_has_no_cors(http: httpx2.AsyncClient, path: str) -> None:
    """RFC 9700 §2.6, security C1."""
    response = await http.get(path, headers={"Origin": "https://inspector.example"})
    assert not any(name.startswith("access-control") for name in response.headers)
