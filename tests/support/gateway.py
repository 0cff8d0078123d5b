"""A real gateway for flow tests: the `serve` command as a process of its own, on a free port, with its own state."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

START_SECONDS = 60.0


def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class GatewayProcess:
    """A running `serve`: its address, its log file, and how to stop or kill it."""

    url: str
    environment: dict[str, str]
    log: Path
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.log.with_suffix(".out")

    def start(self) -> None:
        """Start the process; it is not ready yet (see `wait_until_ready`)."""
        with self.log.open("ab") as log, self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway_proxy", "serve", *self.arguments],
                env=self.environment,
                stdout=output,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    async def wait_until_ready(self) -> None:
        """Return once /ready answers 200; fail with the log when the process ends or takes too long."""
        async with httpx2.AsyncClient(verify=False) as http:
            deadline = asyncio.get_running_loop().time() + START_SECONDS
            while asyncio.get_running_loop().time() < deadline:
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text()[-4000:]
                with contextlib.suppress(httpx2.HTTPError):
                    if (await http.get(f"{self.url}/ready", timeout=2)).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError(f"not ready after {START_SECONDS} s: {self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """kill -9 the supervisor."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, *, within: float = 30.0) -> int:
        """SIGTERM, as a deploy does; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def gateway_environment(data_dir: Path, port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a gateway process: nothing of ours inherited but PATH and HOME."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "GATEWAY_DATA_DIR": str(data_dir),
        "GATEWAY_PORT": str(port),
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        **extra,
    }


@contextlib.asynccontextmanager
async def running_gateway(
    *, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncIterator[GatewayProcess]:
    """A gateway that is ready, and is stopped and cleaned up afterwards. Paths are short for the sake of sockets."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        port = port or free_port()
        gateway = GatewayProcess(
            url=f"http://127.0.0.1:{port}",
            environment=gateway_environment(Path(folder) / "data", port, environment or {}),
            log=Path(folder) / "gateway.log",
            arguments=arguments,
        )
        gateway.start()
        try:
            await gateway.wait_until_ready()
            yield gateway
        finally:
            gateway.stop()
