"""Starts the peers that are there and says of the others why they are absent. Absence is data, never a failure."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import START_SECONDS, free_port, running, start, wait_for_answer
from benchmarks.subjects import EVERYTHING, AddressOf, Kind, Subject, address_of_backend, address_of_single

PASSTHROUGH: Final = "Starlette + aiohttp"
NGINX: Final = "nginx"
LITELLM: Final = "LiteLLM"
_NGINX_CONFIG: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 4m;
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 32k;
      proxy_buffer_size 32k;
    }}
  }}
}}
"""
_CADDY_CONFIG: Final = """{{
  admin off
  auto_https off
  storage file_system {folder}/caddy
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{upstream} {{
    transport http {{
      keepalive_idle_conns_per_host 512
      keepalive_idle_conns 512
    }}
  }}
}}
"""
_LITELLM_CONFIG: Final = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
"""
LITELLM_KEY: Final = "sk-bench-0123456789abcdefghijklmnopqrstuvwxyz"
"""Without a key LiteLLM refuses to start; so it checks one, as the gateway does."""
_LITELLM_QUIET: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MASTER_KEY": LITELLM_KEY,
}


@dataclass
class Peers:
    """Starts peers in front of the backend, on the subject's cores; they stop with `stack`."""

    folder: Path
    upstream: int
    cores: frozenset[int]
    stack: contextlib.ExitStack
    fastmcp_python: Path | None = None
    litellm_python: Path | None = None

    def starlette(self) -> Subject:
        """The yardstick; without it there are no ratios."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.peers.passthrough", str(port), f"http://127.0.0.1:{self.upstream}"]
        return self._subject(PASSTHROUGH, port, command)

    def nginx(self) -> Subject | None:
        """nginx with one worker process, if it is installed."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            return None
        port = free_port()
        config = self.folder / "nginx.conf"
        config.write_text(_NGINX_CONFIG.format(folder=self.folder, port=port, upstream=self.upstream))
        return self._subject(NGINX, port, [program, "-c", str(config), "-p", str(self.folder)])

    def caddy(self) -> Subject | None:
        """Caddy, if it is installed."""
        program = shutil.which("caddy")
        if program is None:
            return None
        port = free_port()
        config = self.folder / "bench.caddy"
        config.write_text(_CADDY_CONFIG.format(folder=self.folder, port=port, upstream=self.upstream))
        return self._subject("Caddy", port, [program, "run", "--config", str(config), "--adapter", "caddyfile"])

    def sdk(self) -> Subject:
        """A gateway made of the `mcp` SDK's server and client."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.peers.sdk_gateway", str(port), self._mcp_url()]
        return self._subject("mcp SDK gateway", port, command, kinds=("json",), address=address_of_single)

    def fastmcp(self) -> Subject | None:
        """fastmcp's proxy, if a Python that has it was given."""
        if self.fastmcp_python is None:
            return None
        port = free_port()
        program = Path(__file__).with_name("fastmcp_proxy.py")
        command = [str(self.fastmcp_python), str(program), str(port), self._mcp_url()]
        return self._subject("fastmcp proxy", port, command, kinds=("json",), address=address_of_single, most=8)

    def litellm(self) -> Subject | None:
        """LiteLLM's proxy in front of a provider, if a Python that has it was given."""
        if self.litellm_python is None:
            return None
        port, config = free_port(), self.folder / "litellm.yaml"
        config.write_text(_LITELLM_CONFIG.format(upstream=self.upstream))
        program = self.litellm_python.absolute().with_name("litellm")
        environment = dict(os.environ) | _LITELLM_QUIET
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        return self._subject(LITELLM, port, command, environment=environment, patience=300.0)

    def _mcp_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/json/mcp"

    def _subject(
        self,
        name: str,
        port: int,
        command: Sequence[str],
        *,
        kinds: tuple[Kind, ...] = EVERYTHING,
        address: AddressOf = address_of_backend,
        most: int = 256,
        environment: Mapping[str, str] | None = None,
        patience: float = START_SECONDS,
    ) -> Subject:
        log = self.folder / f"{name}.log"
        process = self.stack.enter_context(running(start(command, self.cores, log, environment)))
        wait_for_answer(process, port, "", log, seconds=patience)
        return Subject(name, port, process.pid, address, kinds, most)


def version_of(command: Sequence[str]) -> str:
    """The first line in which a program tells its version, or "absent"."""
    program = shutil.which(command[0], path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        return "absent"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]
