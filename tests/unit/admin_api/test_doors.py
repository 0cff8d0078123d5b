"""Who gets in where: platform key, personal tokens, OAuth (contract, Surfaces; security RS4); on both databases."""

from pathlib import Path

import httpx2
import pytest

from gateway_proxy.app import Gateway
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.domain.ids import new_secret
from gateway_proxy.settings import Settings
from gateway_proxy.telemetry.metrics import Metrics
from tests.support.admin_site import PLATFORM_KEY, PUBLIC_URL, SECRET_KEY, AdminSite, open_admin_site

IN_A_TENANT = (
    "/status",
    "/servers",
    "/tools",
    "/admin/config",
    "/admin/assistants",
    "/admin/assistants/x",
    "/admin/providers",
    "/admin/providers/x",
    "/admin/backends",
    "/admin/backends/x",
    "/admin/mcp",
    "/admin/mcp/x",
    "/admin/mcp/x/tools",
)
ALL = (*IN_A_TENANT, "/metrics", "/servers/x")


async def test_the_platform_key_opens_neither_mcp_nor_v1(site: AdminSite) -> None:
    """Security RS4; contract, GATEWAY_ADMIN_API_KEY."""
    for path in ("/mcp", "/v1/models", "/v1/chat/completions"):
        for method in ("GET", "POST"):
            assert (await site.ask(method, path)).status_code == 401
    as_key = await site.clients[0].get("/v1/models?tenant=acme", headers={"X-API-Key": PLATFORM_KEY})
    assert as_key.status_code == 401


async def test_no_token_that_oauth_issued_opens_admin(site: AdminSite) -> None:
    """Security RS4: not even when its row says `admin` and its user is an owner."""
    for path in ALL:
        response = await site.ask("DELETE" if path == "/servers/x" else "GET", path, token=site.caller)
        assert response.status_code == 403
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert response.json() == {"error": "The token lacks the scope admin", "details": ["insufficient_scope"]}


async def test_a_member_s_personal_token_does_not_open_admin(site: AdminSite) -> None:
    """Contract, Tokens and scopes: granted ∩ what the membership allows now."""
    for path in ALL:
        assert (await site.ask("GET", path, token=site.member)).status_code == 403


@pytest.mark.parametrize(
    "header", [None, f"Bearer {PLATFORM_KEY}x", f"Bearer {PLATFORM_KEY[:-1]}", f"Basic {PLATFORM_KEY}", "Bearer é"]
)
async def test_a_wrong_key_is_a_401_with_a_challenge(site: AdminSite, header: str | None) -> None:
    """D12: never open. The tenant in the query is not looked at."""
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    for path in ALL:
        response = await site.clients[0].get(path, params={"tenant": "acme"}, headers=headers)
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert challenge.endswith('scope="admin"')
        assert set(response.json()) == {"error", "details"}


async def test_the_key_is_read_from_the_authorization_header_only(site: AdminSite) -> None:
    """Security RS1; and two credentials are one too many."""
    client = site.clients[0]
    for where in ({"X-API-Key": PLATFORM_KEY}, {"Cookie": f"token={PLATFORM_KEY}"}):
        assert (await client.get("/servers?tenant=acme", headers=where)).status_code == 401
    assert (await client.get(f"/servers?tenant=acme&access_token={PLATFORM_KEY}")).status_code == 401
    twice = [("Authorization", f"Bearer {PLATFORM_KEY}"), ("Authorization", f"Bearer {PLATFORM_KEY}")]
    assert (await client.get("/servers?tenant=acme", headers=twice)).status_code == 401


@pytest.mark.parametrize("query", ["", "?tenant=", "?Tenant=acme", "?tenant=acme&tenant=rival"])
async def test_with_the_platform_key_exactly_one_tenant_is_named(site: AdminSite, query: str) -> None:
    """Contract: 422 naming what is missing; there is no default tenant (security T5)."""
    for path in IN_A_TENANT:
        response = await site.clients[0].get(path + query, headers={"Authorization": f"Bearer {PLATFORM_KEY}"})
        assert response.status_code == 422
        assert response.json() == {
            "error": "With the platform key, name the tenant: ?tenant=<slug>.",
            "details": ["tenant: required once, the slug of a tenant"],
        }


async def test_an_unknown_tenant_is_a_404(site: AdminSite) -> None:
    """No slug, however odd, becomes a fault of ours."""
    for slug in ("none", "ACME", "a%00b", "%ff", "%F0%9F%98%80", "x" * 4000, "acme%20"):
        headers = {"Authorization": f"Bearer {PLATFORM_KEY}"}
        response = await site.clients[0].get(f"/servers?tenant={slug}", headers=headers)
        assert (response.status_code, response.json()["error"]) == (404, "Unknown tenant.")


async def test_a_page_of_another_origin_is_refused(site: AdminSite) -> None:
    """Security incident 2: Origin-checked; and there is no CORS here."""
    for path in ALL:
        for origin in ("https://evil.example", "null", "http://localhost:8000"):
            headers = {"Authorization": f"Bearer {PLATFORM_KEY}", "Origin": origin}
            response = await site.clients[0].get(path, params={"tenant": "acme"}, headers=headers)
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
    headers = {"Authorization": f"Bearer {PLATFORM_KEY}", "Origin": PUBLIC_URL}
    assert (await site.clients[0].get("/servers?tenant=acme", headers=headers)).status_code == 200


async def test_status_and_metrics_open_with_the_key_and_with_a_scope(site: AdminSite) -> None:
    """Contract: `/status`, `/metrics`: scope `admin` or the platform key; metrics are of no tenant."""
    for token in (PLATFORM_KEY, site.admin):
        status = await site.ask("GET", "/status", token=token)
        assert (status.status_code, status.json()["tenant"]) == (200, "acme")
        metrics = await site.ask("GET", "/metrics", token=token, tenant=None)
        assert metrics.status_code == 200
        assert 'gateway_http_responses_total{status="200",surface="operations"}' in metrics.text


async def test_what_names_a_tenant_is_shown_to_that_tenant_and_the_operator(site: AdminSite) -> None:
    """Issue 4: token counts as metrics; security T1: no name of another tenant crosses."""
    for tenant in ("acme", "rival"):
        Metrics().chat_ended(tenant, f"helper-of-{tenant}", "ok", prompt=7, cached=0, completion=2)

    operator = (await site.ask("GET", "/metrics", tenant=None)).text
    administrator = (await site.ask("GET", "/metrics", token=site.admin, tenant=None)).text

    rival = 'gateway_chat_tokens_total{assistant="helper-of-rival",kind="prompt",tenant="rival"}'
    assert rival in operator
    assert "rival" not in administrator
    assert rival.replace("rival", "acme") in administrator


async def test_without_a_platform_key_there_is_none(database_url: str, tmp_path: Path) -> None:
    """Contract: unset = admin API only for users with the `admin` scope. An empty token matches nothing."""
    async with open_admin_site(database_url, tmp_path / "data", environment={"GATEWAY_ADMIN_API_KEY": ""}) as site:
        assert (await site.ask("GET", "/servers")).status_code == 401
        for header in ("Bearer ", "Bearer", "Bearer None"):
            response = await site.clients[0].get("/servers?tenant=acme", headers={"Authorization": header})
            assert response.status_code == 401
        assert (await site.ask("GET", "/servers", token=site.admin)).status_code == 200


@pytest.mark.parametrize("key", ["short", "x" * 31, "with spaces in it, though it is long enough", "ключ" * 10])
def test_a_key_that_no_header_can_carry_is_refused_at_the_start(key: str) -> None:
    """A key that can never match would be a locked door that looks open."""
    with pytest.raises(SettingsInvalid, match=r"GATEWAY_ADMIN_API_KEY: expected at least 32 visible ASCII characters"):
        Settings.from_environment({"GATEWAY_ADMIN_API_KEY": key})


async def test_a_database_out_of_reach_is_a_503(tmp_path: Path) -> None:
    """Security O4: with the platform key too; Retry-After tells when."""
    nowhere = {
        "GATEWAY_DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
        "GATEWAY_SECRET_KEYS": SECRET_KEY,
        "GATEWAY_ADMIN_API_KEY": PLATFORM_KEY,
        "GATEWAY_DATA_DIR": str(tmp_path),
    }
    gateway = Gateway(Settings.from_environment(nowhere))
    transport = httpx2.ASGITransport(app=gateway)
    async with gateway.lifespan(), httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http:
        for token in (PLATFORM_KEY, new_secret("gw_pat_")):
            response = await http.get("/servers?tenant=acme", headers={"Authorization": f"Bearer {token}"})
            assert (response.status_code, response.headers["retry-after"]) == (503, "2")
            assert set(response.json()) == {"error", "details"}
        metrics = await http.get("/metrics", headers={"Authorization": f"Bearer {PLATFORM_KEY}"})
        assert metrics.status_code == 200
