"""A real runner process for tests, and a client that speaks its API over the real socket."""

import asyncio
import contextlib
import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "runner-key-for-tests-0123456789"
START_SECONDS: Final = 20.0
_ids = count(1)


@dataclass(frozen=True, slots=True)
class RunnerProcess:
    """A runner that runs."""

    process: "subprocess.Popen[bytes]"
    socket: Path
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def open_http(self, *, key: str = KEY) -> httpx2.AsyncClient:
        """A real HTTP client on the real socket."""
        return httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(self.socket), limits=httpx2.Limits(max_connections=200)),
            base_url="http://runner",
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        )

    def descendants(self) -> list[psutil.Process]:
        """Every process below it, zombies included."""
        return psutil.Process(self.pid).children(recursive=True)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def start_runner(
    directory: Path, *, at: Path | None = None, through_a_parent: bool = False, **options: Any
) -> RunnerProcess:
    """Start a runner on a unix socket and wait until it answers. `options` go to `run_runner`.

    With `through_a_parent` the process is the runner's parent, which only waits for it.
    """
    path = at or Path(tempfile.mkdtemp(prefix="gwr-"), "s")  # a socket path is at most 107 bytes
    log = directory / f"runner-{next(_ids)}.log"
    arguments = {"listen": f"unix:{path}", "key": KEY, **options}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.support.run_runner", json.dumps(arguments)]
        if through_a_parent:
            command = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *command]
        process = subprocess.Popen(command, cwd=ROOT, stderr=output)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            if at is None:
                shutil.rmtree(path.parent)
            raise AssertionError(log.read_text())
        time.sleep(0.02)
    return RunnerProcess(process, path, log)


@contextlib.contextmanager
def running_runner(directory: Path, **options: Any) -> Iterator[RunnerProcess]:
    """A runner for the length of a block."""
    runner = start_runner(directory, **options)
    try:
        yield runner
    finally:
        if runner.process.poll() is None:
            runner.stop()
        shutil.rmtree(runner.socket.parent, ignore_errors=True)


def child_spec(script: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """The launch specification of one of `tests.support.children`, or of any module."""
    module = script if "." in script else f"tests.support.children.{script}"
    return {
        "tenant": "acme",
        "label": f"acme/{script}",
        "command": sys.executable,
        "args": ["-m", module, *arguments],
        "cwd": str(ROOT),
        **fields,
    }


def new_key() -> str:
    """A child key that no other test uses."""
    return hashlib.sha256(f"{time.time_ns()}-{next(_ids)}".encode()).hexdigest()


@dataclass(slots=True)
class Answer:
    """What came for one POST: the status, the response, and what came before it."""

    status: int
    messages: list[dict[str, Any]]

    @property
    def response(self) -> dict[str, Any]:
        """The last message."""
        return self.messages[-1]

    @property
    def text(self) -> str:
        """The text of a tool result."""
        text: str = self.response["result"]["content"][0]["text"]
        return text


@dataclass(slots=True)
class Hosted:
    """A child as one client sees it."""

    http: httpx2.AsyncClient
    key: str
    instance: str

    @property
    def path(self) -> str:
        """Where its messages go."""
        return f"/children/{self.key}/mcp"

    @property
    def session(self) -> Mapping[str, str]:
        """The session header."""
        return {"mcp-session-id": self.instance}

    async def post(self, message: Any, *, session: bool = True) -> Answer:
        """POST one message and read everything that comes for it."""
        response = await self.http.post(self.path, json=message, headers=self.session if session else {})
        return Answer(response.status_code, read_messages(response))

    async def initialize(self, request_id: Any = 0) -> Answer:
        """The handshake, both halves of it."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        answer = await self.post(
            {"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": params}, session=False
        )
        if answer.status == 200:
            await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    async def call(self, tool: str, *, request_id: Any = 1, token: Any = None, **arguments: Any) -> Answer:
        """Call a tool."""
        return await self.post(call_message(tool, request_id=request_id, token=token, **arguments))

    @contextlib.asynccontextmanager
    async def streaming_call(self, message: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """POST a request and read its event stream message by message."""
        async with self.http.stream("POST", self.path, json=message, headers=self.session) as response:
            assert response.status_code == 200
            yield _events(response)

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The GET stream, open once its first bytes have come."""
        async with self.http.stream("GET", self.path, headers=self.session) as response:
            assert response.status_code == 200
            yield _events(response)


def call_message(tool: str, *, request_id: Any = 1, token: Any = None, **arguments: Any) -> dict[str, Any]:
    """A tools/call request."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


async def host(
    http: httpx2.AsyncClient, spec: Mapping[str, Any], *, key: str | None = None, initialize: bool = True
) -> Hosted:
    """Have a child started and initialised."""
    key = key or new_key()
    response = await http.put(f"/children/{key}", json=spec)
    assert response.status_code == 200, response.text
    hosted = Hosted(http, key, response.json()["instance"])
    if initialize:
        answer = await hosted.initialize()
        assert answer.status == 200, answer
    return hosted


async def status_of(http: httpx2.AsyncClient, key: str) -> dict[str, Any]:
    """The status of one child."""
    status: dict[str, Any] = (await http.get(f"/children/{key}")).json()
    return status


async def until_gone(pids: list[int], *, seconds: float = 10.0) -> None:
    """Wait until none of the processes exists, not even as a zombie."""
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() < deadline, f"still there: {[psutil.Process(pid) for pid in alive]}"
        await asyncio.sleep(0.05)


async def until_ended(http: httpx2.AsyncClient, key: str, *, seconds: float = 10.0) -> dict[str, Any]:
    """Wait until the child has ended; its status row."""
    async with asyncio.timeout(seconds):
        while (row := await status_of(http, key))["state"] != "ended":
            await asyncio.sleep(0.05)
    return row


def read_messages(response: httpx2.Response) -> list[dict[str, Any]]:
    """The messages of a JSON or event-stream response."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    return [response.json()] if response.content else []


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])
