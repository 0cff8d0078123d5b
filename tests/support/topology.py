"""The compose topology as plain processes: gateways, an external runner, PostgreSQL and Redis, and Caddy in front."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.gateway import GatewayProcess, free_port, gateway_environment

ROOT = Path(__file__).parents[2]
CONFIG = """
tenants:
  acme:
    name: Acme
    mcpServers:
      demo: {{command: {python}, args: ["-m", "gateway_proxy.demo"]}}
  rival:
    name: Rival
    mcpServers:
      secret-lab: {{command: {python}, args: ["-m", "gateway_proxy.demo"]}}
users:
  - {{email: ann@example.com, password: "correct horse battery", tenants: {{acme: owner}}}}
  - {{email: bob@example.com, password: "another long password", tenants: {{rival: owner}}}}
"""


@dataclass
class Topology:
    """Addresses and processes of one running topology."""

    folder: Path
    environment: dict[str, str]
    gateways: list[GatewayProcess]
    runner: subprocess.Popen[bytes] | None = None
    proxies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *arguments: str) -> str:
        """Run a gateway command with this topology's settings; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway_proxy", *arguments],
            env=self.gateways[0].environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, email: str, tenant: str, scope: str = "mcp openai") -> str:
        """A personal token, made by the command that an operator would use."""
        return self.command("token", "create", "--user", email, "--tenant", tenant, "--scope", scope)


@contextlib.contextmanager
def _runner(folder: Path, key: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"GATEWAY_RUNNER_KEY": key, "GATEWAY_DATA_DIR": str(folder / "runner")}
    with (folder / "runner.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway_proxy", "runner", "--listen", f"unix:{folder}/r.sock"],
            env=environment,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()


@contextlib.asynccontextmanager
async def running_topology(
    *,
    database_url: str,
    redis_url: str,
    gateways: int = 2,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
    config: str = CONFIG,
) -> AsyncIterator[Topology]:
    """Start a runner and `gateways` serve processes with one public URL, configured from one file."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        folder = Path(name)
        (folder / "gateway.yaml").write_text(config.format(python=sys.executable))
        ports = [free_port() for _ in range(gateways)]
        shared = {
            "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{ports[0]}",
            "GATEWAY_DATABASE_URL": database_url,
            "GATEWAY_REDIS_URL": redis_url,
            "GATEWAY_SECRET_KEYS": "topology-secret-key-0123456789-abcdef",
            "GATEWAY_RUNNER_URL": f"unix:{folder}/r.sock",
            "GATEWAY_RUNNER_KEY": "topology-runner-key-0123456789-abcdef",
            "GATEWAY_WORKERS": str(workers),
            **(environment or {}),
        }
        processes = [
            GatewayProcess(
                url=f"http://127.0.0.1:{port}",
                environment=gateway_environment(folder / "data", port, shared),
                log=folder / f"gateway-{port}.log",
                arguments=("--config", str(folder / "gateway.yaml")),
            )
            for port in ports
        ]
        with _runner(folder, shared["GATEWAY_RUNNER_KEY"]) as runner:
            topology = Topology(folder, shared, processes, runner)
            try:
                for process in processes:
                    process.start()
                await asyncio.gather(*(process.wait_until_ready() for process in processes))
                yield topology
            finally:
                for process in processes:
                    with contextlib.suppress(AssertionError, ProcessLookupError):
                        process.stop()


@contextlib.asynccontextmanager
async def running_caddy(folder: Path, port: int, upstreams: Sequence[str]) -> AsyncIterator[Path]:
    """The project's Caddyfile on https://localhost:`port` with Caddy's internal CA; yields the CA's certificate.

    The file is adapted by Caddy itself; only what would touch the machine (ports 80 and 443, the trust store, the admin
    socket, the home directory) is turned off in the result.
    """
    caddy = shutil.which("caddy")
    assert caddy, "Caddy is needed for the topology test: apt-get install caddy"
    environment = {"GATEWAY_DOMAIN": f"localhost:{port}", "GATEWAY_UPSTREAMS": " ".join(upstreams), "HOME": str(folder)}
    adapted = subprocess.run(
        [caddy, "adapt", "--config", str(ROOT / "Caddyfile"), "--adapter", "caddyfile"],
        env=environment,
        capture_output=True,
        check=True,
    )
    config: dict[str, Any] = json.loads(adapted.stdout)
    config["admin"] = {"disabled": True}
    config["storage"] = {"module": "file_system", "root": str(folder / "caddy")}
    config["apps"]["http"] |= {"http_port": free_port(), "https_port": port}
    config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    path = folder / "caddy.json"
    path.write_text(json.dumps(config))
    with (folder / "caddy.log").open("ab") as log:
        process = subprocess.Popen([caddy, "run", "--config", str(path)], env=environment, stderr=log, stdout=log)
    certificate = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    try:
        await _wait_for_tls(port, certificate, folder / "caddy.log")
        yield certificate
    finally:
        process.terminate()
        process.wait(10)


async def _wait_for_tls(port: int, certificate: Path, log: Path) -> None:
    """Until a handshake succeeds: Caddy listens before it has issued the certificate."""
    async with asyncio.timeout(30):
        while not certificate.exists():
            await asyncio.sleep(0.05)
        trust = ssl.create_default_context(cafile=certificate)
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
                writer.close()
                return
            await asyncio.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])


def bearer(token: str) -> httpx2.AsyncClient:
    """An HTTP client that sends `token`, for http alone: it reads no authorities, which would take it 20 ms."""
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=False)
