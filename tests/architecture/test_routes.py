"""Every route is PUBLIC or PROTECTED, never both, and has its row; a protected one has its door."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio
from starlette.routing import Route

from gateway_proxy.app import Gateway, People, admin_surface, openai_surface, public_routes
from gateway_proxy.edge.health import Draining
from gateway_proxy.services import Services, open_services
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.migrate import upgrade
from openai_routes.providers.transport import ProviderConnections

ENDPOINTS = Path(__file__).parents[2] / "docs" / "reference" / "endpoints.md"
MCP = {"/mcp", "/sse", "/messages/"}


def _plain(path: str) -> str:
    """A route's path without the converters of its parameters."""
    return re.sub(r":\w+}", "}", path)


def _documented() -> tuple[set[str], set[str]]:
    public, _, protected = ENDPOINTS.read_text().partition("## Protected")
    rows = (set(re.findall(r"^\|\s*`([^`]+)`", part, re.MULTILINE)) for part in (public, protected))
    first, second = ({_plain(path) for path in part} for part in rows)
    return first, second


@pytest_asyncio.fixture
async def settings(tmp_path: Path) -> Settings:
    made = Settings.from_environment({"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_ADMIN_API_KEY": "k" * 40})
    await upgrade(made.database_url)
    return made


@pytest_asyncio.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as opened:
        yield opened


def _public(services: Services) -> list[Route]:
    return public_routes(services, People.of(services), Draining())


def _protected(services: Services) -> list[Route]:
    connections = ProviderConnections(services.guard, services.core.clock)
    return [*openai_surface(services, connections), *admin_surface(services)]


async def test_every_route_is_in_one_list_and_has_a_row(services: Services) -> None:
    """Contract, Surfaces: nothing is served that the reference page does not name, and the reverse."""
    public = {_plain(route.path) for route in _public(services)}
    protected = {_plain(route.path) for route in _protected(services)} | MCP
    assert not public & protected
    documented_public, documented_protected = _documented()
    assert public == documented_public
    assert protected == documented_protected


async def test_no_protected_route_answers_without_a_token(services: Services, settings: Settings) -> None:
    """reference RS2: 401 with a challenge before anything else, for every protected route and method."""
    gateway = Gateway(settings)
    async with _running(gateway) as http:
        for route in _protected(services):
            path = re.sub(r"{[^}]*}", "x", route.path)
            for method in sorted(route.methods or {"GET", "POST", "PUT", "DELETE"}):
                response = await http.request(method, path)
                assert response.status_code == 401, f"{method} {path}"
                assert response.headers["www-authenticate"].startswith("Bearer")
        for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
            assert (await http.request(method, "/mcp")).status_code == 401
        assert (await http.get("/sse")).status_code == 401
        assert (await http.post("/messages/?session_id=x")).status_code == 401


def _running(gateway: Gateway) -> "_Running":
    return _Running(gateway)


class _Running:
    """The ASGI application with its lifespan run, and an HTTP client on it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __aenter__(self) -> httpx2.AsyncClient:
        self._lifespan = self._gateway.lifespan()
        await self._lifespan.__aenter__()
        self._http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self._gateway), base_url="http://127.0.0.1:8000"
        )
        return self._http

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()
        await self._lifespan.__aexit__(None, None, None)
