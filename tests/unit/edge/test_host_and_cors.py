"""The edge: Host check, CORS by surface, request ids and the error boundary, on a real ASGI stack."""

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from gateway_proxy.edge.cors import SurfaceCors
from gateway_proxy.edge.host_check import HostCheck
from gateway_proxy.edge.request_boundary import RequestBoundary
from gateway_proxy.telemetry.metrics import Metrics

PUBLIC = "https://tools.example.com"
CHAT = "https://chat.example.org"


async def _answer(request: Request) -> Response:
    return PlainTextResponse("fine")


async def _refuse(request: Request) -> Response:
    return PlainTextResponse("no", status_code=401, headers={"WWW-Authenticate": "Bearer"})


async def _crash(request: Request) -> Response:
    raise ValueError("a secret in a message")


def _app(origins: tuple[str, ...] = ()) -> ASGIApp:
    router = Router(
        [
            Route("/v1/models", _refuse),
            Route("/mcp", _answer),
            Route("/oauth/authorize", _answer),
            Route("/oauth/token", _answer, methods=["POST"]),
            Route("/health", _answer),
            Route("/v1/crash", _crash),
            Route("/account/crash", _crash),
        ]
    )
    cors = SurfaceCors(router, public_url=PUBLIC, origins=origins)
    return RequestBoundary(HostCheck(cors, PUBLIC, allowed=("gateway", "192.168.1.5", "[fd00::5]")), Metrics())


def _http(app: ASGIApp, base: str = PUBLIC) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=base)


def _preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }


async def test_a_preflight_of_a_direct_connection_is_answered_without_a_token() -> None:
    """openai-clients §0.7: preflights carry no token and ask for `authorization` by name."""
    async with _http(_app()) as http:
        response = await http.options("/v1/models", headers=_preflight(CHAT))
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "authorization" in response.headers["access-control-allow-headers"].lower()


async def test_refusals_carry_cors_headers_too() -> None:
    """reference C1: a browser client must be able to read a 401."""
    async with _http(_app()) as http:
        response = await http.get("/v1/models", headers={"Origin": CHAT})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "*"
    assert "WWW-Authenticate" in response.headers["access-control-expose-headers"]


async def test_pages_and_authorize_have_no_cors() -> None:
    """RFC 9700 §2.6: no CORS at the authorization endpoint."""
    async with _http(_app()) as http:
        response = await http.get("/oauth/authorize", headers={"Origin": CHAT})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(("origin", "status"), [(CHAT, 400), ("http://localhost:6274", 200), (PUBLIC, 200)])
async def test_mcp_preflights_are_for_our_own_and_loopback_origins(origin: str, status: int) -> None:
    """reference C1: an allow-list on /mcp."""
    async with _http(_app()) as http:
        assert (await http.options("/mcp", headers=_preflight(origin))).status_code == status


async def test_listed_origins_replace_the_defaults() -> None:
    """Settings: GATEWAY_CORS_ORIGINS."""
    async with _http(_app((CHAT,))) as http:
        assert (await http.options("/v1/models", headers=_preflight(CHAT))).status_code == 200
        assert (await http.options("/mcp", headers=_preflight(CHAT))).status_code == 200
        assert (await http.options("/v1/models", headers=_preflight("https://other.example"))).status_code == 400


@pytest.mark.parametrize("host", ["evil.example.net", "tools.example.com.evil.net", ""])
async def test_a_foreign_host_is_misdirected(host: str) -> None:
    """reference row 11 and 25: DNS rebinding."""
    async with _http(_app()) as http:
        assert (await http.get("/mcp", headers={"Host": host})).status_code == 421
        assert (await http.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "tools.example.com",
        "TOOLS.example.com:443",
        "127.0.0.1:8000",
        "localhost",
        "[::1]:80",
        "host.docker.internal:8000",
        "Gateway:8000",
        "192.168.1.5:8000",
        "[fd00::5]:8000",
        "[fd00::5]",
    ],
)
async def test_our_host_loopback_and_allowed_names_are_served(host: str) -> None:
    """The Host check lets in a local probe, the public name, this machine's containers and what the operator allows."""
    async with _http(_app()) as http:
        assert (await http.get("/mcp", headers={"Host": host})).status_code == 200


async def test_a_foreign_host_is_refused_in_the_shape_of_its_surface() -> None:
    """Contract, Errors: a client reads the reason, and the operator learns which setting to use."""
    async with _http(_app(), "https://10.1.2.3:8000") as http:
        mcp, chat, token, page = [
            (await http.get(path)).json() for path in ("/mcp", "/v1/models", "/oauth/token", "/sign-in")
        ]
    assert (mcp["jsonrpc"], mcp["id"], mcp["error"]["code"]) == ("2.0", None, -32600)
    assert (chat["error"]["type"], chat["error"]["code"]) == ("invalid_request_error", "misdirected_request")
    assert token["error"] == "invalid_request"
    for sentence in (mcp["error"]["message"], chat["error"]["message"], token["error_description"], page["error"]):
        assert "GATEWAY_ALLOWED_HOSTS" in sentence


async def test_a_crash_is_a_clean_error_of_its_surface() -> None:
    """Contract: never a traceback, never a library's text."""
    async with _http(_app()) as http:
        response = await http.get("/v1/crash")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert len(response.headers["x-request-id"]) == 32


async def test_a_crash_of_a_page_is_a_page_that_nobody_can_frame() -> None:
    """Security B1: on error pages too."""
    async with _http(_app()) as http:
        response = await http.get("/account/crash")
    assert response.status_code == 500
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"
    assert "secret" not in response.text
