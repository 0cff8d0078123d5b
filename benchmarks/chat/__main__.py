"""Measures the chat rows side by side in one run: `python -m benchmarks.chat [--short] [--litellm PATH]`.

CPU per streamed chunk is the figure to trust; times depend on the machine, so every row is also a ratio to the
Starlette+aiohttp pass-through of the same run. `--litellm` is the `litellm` command of an environment that has it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

PROVIDER, PASS, OURS, NGINX, LITELLM, BACKEND = range(9901, 9907)
NGINX_CONF = """
daemon off; worker_processes 1; error_log stderr crit; pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 256; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
OURS_CONF = """
tenants:
  default:
    mcpServers: {{bench: {{transport: streamable-http, url: "http://127.0.0.1:{backend}/json/mcp"}}}}
    providers: {{default: {{base_url: "http://127.0.0.1:{provider}/v1"}}}}
"""
LITELLM_CONF = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{provider}/v1", api_key: none}}
"""


@dataclass
class Subject:
    """Something that is measured: its port, the processes that do its work, the key it wants."""

    name: str
    port: int
    processes: list[psutil.Process]
    key: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)


async def ask(subject: Subject, words: int, pause: float, text: str) -> tuple[float, int]:
    """One streamed chat over a connection of its own: milliseconds to the first word, and how many words came."""
    body = {
        "model": "m",
        "stream": True,
        "seed": words,
        "top_p": pause,
        "messages": [{"role": "user", "content": text}],
    }
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{subject.port}\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {subject.key}\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", subject.port)
    started, first, seen = time.perf_counter(), 0.0, 0
    writer.write(head.encode() + data)
    tail = b""
    while chunk := await reader.read(65536):
        seen += chunk.count(b'" word"')
        first = first or (time.perf_counter() - started if seen else 0.0)
        tail = (tail + chunk)[-64:]
        if b"[DONE]" in tail:
            break
    writer.close()
    return first * 1000, seen


async def measure(subject: Subject, *, words: int, streams: int, rounds: int) -> None:
    """Fill in the figures of one subject."""
    await asyncio.gather(*(ask(subject, 5, 0, "warm") for _ in range(8)))
    before, seen = subject.cpu(), 0
    for _ in range(rounds):
        seen += sum(count for _, count in await asyncio.gather(*(ask(subject, words, 5, "x") for _ in range(streams))))
    subject.figures["CPU µs per chunk"] = (subject.cpu() - before) / max(seen, 1) * 1e6
    firsts = [(await ask(subject, 1, 0, "x"))[0] for _ in range(200)]
    subject.figures["first word, p50 ms"] = statistics.median(firsts)
    if subject.name == "ours":
        firsts = [(await ask(subject, 1, 0, "tool"))[0] for _ in range(100)]
        subject.figures["first word after a tool round, p50 ms"] = statistics.median(firsts)


@contextlib.contextmanager
def process(*command: str, **more: object) -> Iterator[psutil.Process]:
    """A process that ends with the block, and its children with it."""
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL, **more)  # type: ignore[call-overload]
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(30)


async def _until_open(port: int) -> None:
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def subjects(litellm: str | None) -> AsyncIterator[list[Subject]]:
    """Everything started, in the order of the table."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gwb", ignore_cleanup_errors=True)))
        python = sys.executable
        provider = stack.enter_context(process(python, "-m", "benchmarks.chat.provider", str(PROVIDER)))
        passing = process(python, "-m", "benchmarks.chat.passthrough", str(PASS), f"http://127.0.0.1:{PROVIDER}")
        found = [
            Subject("provider itself", PROVIDER, [provider]),
            Subject("Starlette+aiohttp", PASS, [stack.enter_context(passing)]),
            await _ours(stack, folder),
        ]
        if nginx := shutil.which("nginx"):
            conf = folder / "nginx.conf"
            conf.write_text(NGINX_CONF.format(folder=folder, provider=PROVIDER, port=NGINX))
            running = stack.enter_context(process(nginx, "-c", str(conf), "-p", str(folder)))
            await _until_open(NGINX)
            found.append(Subject("nginx", NGINX, running.children(recursive=True)))
        if litellm:
            conf = folder / "litellm.yaml"
            conf.write_text(LITELLM_CONF.format(provider=PROVIDER))
            running = stack.enter_context(process(litellm, "--config", str(conf), "--port", str(LITELLM)))
            found.append(Subject("LiteLLM", LITELLM, [running]))
        for subject in found:
            await _until_open(subject.port)
        yield found


async def _ours(stack: contextlib.ExitStack, folder: Path) -> Subject:
    """A whole gateway as `scripts/run` starts it: authentication, audit and metrics on."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {
        "GATEWAY_DATA_DIR": str(folder / "data"),
        "GATEWAY_PORT": str(OURS),
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{OURS}",
    }
    conf = folder / "gateway.yaml"
    conf.write_text(OURS_CONF.format(backend=BACKEND, provider=PROVIDER))
    stack.enter_context(process(sys.executable, "-m", "benchmarks.backend", str(BACKEND)))
    output = stack.enter_context((folder / "out").open("wb"))
    serve = (sys.executable, "-m", "gateway_proxy", "serve", "--bootstrap", "--config", str(conf))
    running = stack.enter_context(process(*serve, env=environment, stdout=output))
    await _until_open(OURS)
    token = re.search(r"gw_pat_[A-Za-z0-9_-]{43}", (folder / "out").read_text())
    assert token
    await asyncio.sleep(5)  # the backend is listed and the first audit is written: not what is measured
    workers = [child for child in running.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return Subject("ours", OURS, workers or [running], token[0])


def table(found: list[Subject]) -> str:
    """The figures as Markdown, each with its ratio to the pass-through."""
    names = list(dict.fromkeys(name for subject in found for name in subject.figures))
    yardstick = next(subject for subject in found if subject.name == "Starlette+aiohttp").figures
    lines = ["| chat | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for subject in found:
        cells = []
        for name in names:
            value = subject.figures.get(name)
            ratio = f" ({value / yardstick[name]:.2f}×)" if value is not None and name in yardstick else ""
            cells.append("" if value is None else f"{value:.2f}{ratio}")
        lines.append(f"| {subject.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def main() -> None:
    """Measure every subject in turn, twice, and print the better figures: noise only ever adds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--litellm")
    given = parser.parse_args()
    words, streams, rounds = (200, 16, 1) if given.short else (1000, 32, 2)
    async with subjects(given.litellm) as found:
        for _ in range(2):
            for subject in found:
                best = dict(subject.figures)
                await measure(subject, words=words, streams=streams, rounds=rounds)
                subject.figures = {name: min(value, best.get(name, value)) for name, value in subject.figures.items()}
        print(table(found))


if __name__ == "__main__":
    uvloop.run(main())
