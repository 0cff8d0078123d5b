"""The door of a protected surface (RFC 6750 §3, RFC 9728 §5.1; issue 2, deliverable 4)."""

import json

import httpx2
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.auth import error_bodies
from gateway_proxy.auth.middleware import Challenge, RequireScope, get_principal
from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.domain.principal import Scope
from gateway_proxy.domain.tenant import Role
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.tenancy.middleware import ResolveTenant, get_tenant_context
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People

METADATA = f"{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"
CHALLENGE = Challenge(scope="mcp", resource_metadata=METADATA)


async def surface(scope: Connection, receive: Receive, send: Send) -> None:
    """Says who came through the door."""
    context = get_tenant_context(scope)
    body = {"tenant": context.tenant.slug, "user": get_principal(scope).user_id}
    await JSONResponse(body)(scope, receive, send)


def json_rpc_body(status: int, code: str, message: str) -> tuple[bytes, str]:
    """An error body as a surface makes it."""
    return json.dumps({"status": status, "code": code, "message": message}).encode(), "application/json"


def guarded(verifier: TokenVerifier) -> httpx2.AsyncClient:
    """A client of the surface behind its door."""
    door = RequireScope(ResolveTenant(surface), verifier, Scope.MCP, CHALLENGE, json_rpc_body)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url=PUBLIC_URL)


def bearer(secret: str) -> dict[str, str]:
    """The header with the token."""
    return {"Authorization": f"Bearer {secret}"}


async def test_a_request_without_a_token_learns_where_to_get_one(verifier: TokenVerifier) -> None:
    """RFC 9728 §5.1; no error code when no token was sent (RFC 6750 §3.1), whatever the body holds."""
    async with guarded(verifier) as http:
        response = await http.post("/mcp", content=b"\xff not json", headers={"Accept": "*/*"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == f'Bearer resource_metadata="{METADATA}", scope="mcp"'
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["message"].startswith("Unauthorized")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT"])
async def test_every_method_needs_a_token(verifier: TokenVerifier, method: str) -> None:
    """401 before any other validation, the method included."""
    async with guarded(verifier) as http:
        response = await http.request(method, "/mcp")
    assert response.status_code == 401


@pytest.mark.parametrize("headers", [bearer("gw_at_unknown"), bearer("a" * 5000), bearer("two words")])
async def test_a_token_that_is_not_good_is_called_invalid(verifier: TokenVerifier, headers: dict[str, str]) -> None:
    """RFC 6750 §3.1: invalid_token."""
    async with guarded(verifier) as http:
        response = await http.get("/mcp", headers=headers)
    assert response.status_code == 401
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="invalid_token", error_description="')
    assert challenge.endswith(f'resource_metadata="{METADATA}", scope="mcp"')
    assert response.json()["code"] == "invalid_token"


@pytest.mark.parametrize("place", ["query", "cookie", "body"])
async def test_a_token_anywhere_but_in_the_header_is_not_seen(
    verifier: TokenVerifier, people: People, place: str
) -> None:
    """Security RS1: the bearer header only."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    async with guarded(verifier) as http:
        response = await http.post(
            "/mcp",
            params={"access_token": secret} if place == "query" else None,
            data={"access_token": secret} if place == "body" else None,
            headers={"Cookie": f"access_token={secret}"} if place == "cookie" else None,
        )
    assert response.status_code == 401
    assert "error=" not in response.headers["www-authenticate"]


async def test_a_good_token_opens_the_surface_in_its_own_tenant(verifier: TokenVerifier, people: People) -> None:
    """Security T1: the tenant comes from the token's row, whatever headers say."""
    tenant, other, user = await people.tenant("acme"), await people.tenant("other"), await people.user()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant)
    async with guarded(verifier) as http:
        response = await http.post(
            "/mcp", params={"tenant": other.slug}, headers=bearer(issued.secret) | {"X-Tenant": other.id}
        )
    assert response.json() == {"tenant": "acme", "user": user.id}


async def test_a_token_without_the_scope_is_told_which_one_is_needed(verifier: TokenVerifier, people: People) -> None:
    """RFC 6750 §3.1: 403 insufficient_scope with the scope."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant, scope="openai")
    async with guarded(verifier) as http:
        response = await http.get("/mcp", headers=bearer(secret))
    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_scope"')
    assert f'resource_metadata="{METADATA}"' in challenge
    assert 'scope="mcp"' in challenge


async def test_a_demoted_administrator_loses_the_admin_surface(
    verifier: TokenVerifier, people: People, clock: FakeClock
) -> None:
    """Effective scopes follow the membership as it is now."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant, Role.ADMIN)
    secret, _ = await people.personal_token(user, tenant, scope="admin")
    door = RequireScope(ResolveTenant(surface), verifier, Scope.ADMIN, Challenge("admin"), json_rpc_body)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url=PUBLIC_URL) as http:
        assert (await http.get("/admin", headers=bearer(secret))).status_code == 200
        await people.join(user, tenant, Role.MEMBER)
        clock.advance(2)
        refused = await http.get("/admin", headers=bearer(secret))
    assert refused.status_code == 403
    assert "resource_metadata" not in refused.headers["www-authenticate"]


async def test_storage_that_is_down_is_503_with_retry_after(clock: FakeClock) -> None:
    """Security O4: not a 401, which would make clients throw good tokens away."""
    missing = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    async with guarded(TokenVerifier(missing, clock, public_url=PUBLIC_URL)) as http:
        response = await http.get("/mcp", headers=bearer("gw_at_any"))
    await missing.close()
    assert response.status_code == 503
    assert response.json()["code"] == "storage_unavailable"
    assert int(response.headers["retry-after"]) >= 1
    assert "www-authenticate" not in response.headers


@pytest.mark.parametrize(("status", "number"), [(503, -32000), (429, -32000), (401, -32001), (403, -32001)])
def test_the_door_of_mcp_says_of_what_is_not_available_what_mcp_itself_says(status: int, number: int) -> None:
    """docs/reference/errors.md: one number for a reason, wherever it is met."""
    body, _ = error_bodies.json_rpc_body(status, "reason", "One sentence")
    assert json.loads(body)["error"]["code"] == number


async def test_an_api_key_header_opens_a_surface_that_allows_it(verifier: TokenVerifier, people: People) -> None:
    """Security RS1: /v1 reads X-API-Key and Api-Key too."""
    tenant, user = await people.tenant(), await people.user()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    door = RequireScope(
        ResolveTenant(surface),
        verifier,
        Scope.OPENAI,
        Challenge("openai"),
        json_rpc_body,
        alternates=(b"x-api-key", b"api-key"),
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url=PUBLIC_URL) as http:
        assert (await http.get("/v1/models", headers={"X-API-Key": secret})).status_code == 200
        assert (await http.get("/v1/models", headers={"Api-Key": secret})).status_code == 200
        both = await http.get("/v1/models", headers={"Api-Key": secret} | bearer(secret))
    assert both.status_code == 401
    assert 'error="invalid_token"' in both.headers["www-authenticate"]
