"""The application on both databases, and real MCP servers to add to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.admin_site import AdminSite, open_admin_site
from tests.support.mcp_backends import McpBackend, demo_backend, serve


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[AdminSite]:
    """One worker; definitions made at run time may reach this machine under one of its addresses."""
    environment = {"GATEWAY_EGRESS_ALLOW": "localhost"}
    async with open_admin_site(database_url, tmp_path / "data", environment=environment) as site:
        yield site


@pytest.fixture
def calc() -> McpBackend:
    """An MCP server with three tools."""
    return demo_backend()


@pytest.fixture
async def calc_url(calc: McpBackend) -> AsyncIterator[str]:
    """Where it listens: on loopback, so only the operator may name it."""
    async with serve(calc) as url:
        yield f"{url}/mcp"


@pytest.fixture
def allowed_url(calc_url: str) -> str:
    """The same server under the name that the operator allowed (GATEWAY_EGRESS_ALLOW)."""
    return calc_url.replace("127.0.0.1", "localhost")
