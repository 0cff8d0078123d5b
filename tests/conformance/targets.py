"""What the suite is run against: the server with everything itself, and gateways in front of it."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.databases import postgres_database
from tests.support.gateway import GatewayProcess, free_port, running_gateway
from tests.support.postgres import find_postgres
from tests.support.redis import empty_redis, find_redis
from tests.support.round_robin import round_robin
from tests.support.servers import TestRun
from tests.support.topology import running_topology

ROOT = Path(__file__).parents[2]
EMAIL = "ann@example.com"
PERSON = "bob@example.com"
"""Belongs to one tenant only, so that the consent page has nothing to choose."""
PASSWORD = "correct horse battery"
TENANTS = ("http", "stdio")
"""One tenant for each way in which the backend is reached."""
SETTINGS = {"GATEWAY_STREAM_TTL": "2"}
"""In one scenario the server breaks the stream of a call. One over stdio has none to break, so the gateway does."""
START_SECONDS = 30.0
LAST_LINES = 20

CONFIG = """
tenants:
  http:
    naming: {{prefix: none}}
    mcpServers:
      everything: {{transport: streamable-http, url: "{backend}"}}
  stdio:
    naming: {{prefix: none}}
    mcpServers:
      everything: {{command: "{python}", args: ["-m", "tests.support.everything"], cwd: "{root}"}}
users:
  - {{email: {email}, password: "{password}", tenants: {{http: owner, stdio: owner}}}}
  - {{email: {person}, password: "{password}", tenants: {{http: member}}}}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway: its address, a token for each tenant, and where it writes its logs."""

    name: str
    url: str
    tokens: dict[str, str]
    logs: tuple[Path, ...]

    def complaints(self) -> list[str]:
        """The last lines of its logs that are more than information."""
        lines = [line for log in self.logs for line in log.read_text("utf-8", "replace").splitlines()]
        return [line[:500] for line in lines if '"level": "info"' not in line][-LAST_LINES:]


@contextlib.asynccontextmanager
async def everything_server() -> AsyncIterator[str]:
    """The server with everything over streamable HTTP; yields the URL of its endpoint."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.everything",
        "--http",
        str(port),
        cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            await _wait_for_port(port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        await process.wait()


async def _wait_for_port(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


def _config(backend: str) -> str:
    return CONFIG.format(
        backend=backend, python=sys.executable, root=ROOT, email=EMAIL, person=PERSON, password=PASSWORD
    )


async def _tokens(gateway: GatewayProcess) -> dict[str, str]:
    return {tenant: await _token(gateway, tenant) for tenant in TENANTS}


async def _token(gateway: GatewayProcess, tenant: str) -> str:
    arguments = ["token", "create", "--user", EMAIL, "--tenant", tenant, "--scope", "mcp"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway_proxy", *arguments, env=gateway.environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, "no token could be made"
    return output.decode().strip()


@contextlib.asynccontextmanager
async def one_worker(backend: str) -> AsyncIterator[Target]:
    """One worker as a first look has it: SQLite and sessions in the process."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        path = Path(folder) / "gateway.yaml"
        path.write_text(_config(backend))
        async with running_gateway(arguments=("--config", str(path)), environment=SETTINGS) as gateway:
            yield Target("1 worker", gateway.url, await _tokens(gateway), (gateway.log,))


@contextlib.asynccontextmanager
async def two_gateways(backend: str, run: TestRun) -> AsyncIterator[Target]:
    """Two gateway processes on PostgreSQL and Redis behind a strict round robin."""
    server, redis_url = find_postgres(run), find_redis(run)
    empty_redis(redis_url)
    port = free_port()
    public = f"http://127.0.0.1:{port}"
    # `running_topology` formats its configuration itself
    config = _config(backend).replace("{", "{{").replace("}", "}}")
    with postgres_database(server) as database_url:
        async with (
            running_topology(
                database_url=database_url,
                redis_url=redis_url,
                gateways=2,
                environment={"GATEWAY_PUBLIC_URL": public, **SETTINGS},
                config=config,
            ) as topology,
            round_robin(port, [gateway.url.removeprefix("http://") for gateway in topology.gateways]) as url,
        ):
            logs = (*(gateway.log for gateway in topology.gateways), topology.folder / "runner.log")
            yield Target("2 gateways, round robin", url, await _tokens(topology.gateways[0]), logs)
