"""The compose topology as processes: Caddy with TLS, two gateways, a runner, PostgreSQL and Redis."""

import asyncio
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from tests.flows.test_python_client import Memory, Person
from tests.support.bootstrapped import Bootstrapped
from tests.support.gateway import free_port
from tests.support.mcp_backends import serve
from tests.support.topology import running_caddy, running_topology

ROOT = Path(__file__).parents[2]


async def test_a_client_signs_in_and_calls_a_tool_through_caddy_over_tls(postgres_url: str, redis_url: str) -> None:
    """Issue: one OAuth flow and one tool call over TLS, through the project's own Caddyfile."""
    port = free_port()
    public = f"https://localhost:{port}"
    environment = {"GATEWAY_PUBLIC_URL": public, "GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
    async with running_topology(
        database_url=postgres_url, redis_url=redis_url, gateways=2, environment=environment
    ) as topology:
        upstreams = [gateway.url.removeprefix("http://") for gateway in topology.gateways]
        async with running_caddy(topology.folder, port, upstreams) as certificate:
            await _connect_and_call(public, ssl.create_default_context(cafile=certificate), topology.gateways[0])


async def _connect_and_call(public: str, trust: ssl.SSLContext, process: Any) -> None:
    gateway = Bootstrapped(public, "ann@example.com", "correct horse battery", "", "", process)
    memory = Memory()
    async with httpx2.AsyncClient(verify=trust) as browser:
        person = Person(gateway, browser, "approve")
        provider = OAuthClientProvider(
            server_url=f"{public}/mcp",
            client_metadata=OAuthClientMetadata(
                client_name="Through Caddy", redirect_uris=[AnyUrl("http://127.0.0.1:49154/callback")]
            ),
            storage=memory,
            redirect_handler=person.open,
            callback_handler=person.answer,
        )
        async with (
            httpx2.AsyncClient(auth=provider, timeout=30, verify=trust) as http,
            Client(streamable_http_client(f"{public}/mcp", http_client=http)) as client,
        ):
            assert "5" in str((await client.call_tool("demo__add", {"a": 2, "b": 3})).content)
        response = await browser.get(f"{public}/sign-in")
        assert response.headers["strict-transport-security"]
        cookie = [value for name, value in response.headers.multi_items() if name == "set-cookie"]
        assert all(value.startswith("__Host-") and "Secure" in value for value in cookie)


async def test_caddy_passes_events_on_at_once_and_says_when_the_client_has_gone(tmp_path: Path) -> None:
    """MCP 2026-07-28, Cancellation: closing the stream is how a client cancels; security D5: nothing is buffered."""
    left = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": here\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    port = free_port()
    async with (
        serve(stream) as upstream,
        running_caddy(tmp_path, port, [upstream.removeprefix("http://")]) as authority,
    ):
        trust = ssl.create_default_context(cafile=authority)
        async with asyncio.timeout(20), httpx2.AsyncClient(verify=trust) as http:
            async with http.stream("POST", f"https://localhost:{port}/mcp", content=b"{}") as response:
                assert await anext(response.aiter_bytes()) == b": here\n\n"
            await left.wait()


def test_the_caddyfile_is_valid(tmp_path: Path) -> None:
    """Issue: `caddy validate`."""
    caddy = shutil.which("caddy")
    assert caddy, "Caddy is needed for this test: apt-get install caddy"
    done = subprocess.run(
        [caddy, "validate", "--config", str(ROOT / "Caddyfile"), "--adapter", "caddyfile"],
        env={"GATEWAY_DOMAIN": "tools.example.com", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_compose_file_fits_its_schema() -> None:
    """Issue: a schema check of the compose file (the published Compose Specification, as check-jsonschema ships it)."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", ["caddy", "gateway", "runner", "postgres", "redis"])
def test_every_service_restarts_and_only_caddy_is_published(service: str) -> None:
    """Issue: the runner has neither keys nor a way to the database; only Caddy has ports."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    definition = services[service]
    assert definition["restart"] == "unless-stopped"
    assert ("ports" in definition) == (service == "caddy")
    if service == "runner":
        assert set(definition["networks"]) == {"tools"}
        assert set(definition["environment"]) == {"GATEWAY_RUNNER_KEY", "GATEWAY_LOG_LEVEL"}
