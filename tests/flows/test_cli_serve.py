"""`serve` as a process: what it needs, what it prints, and what is left when parts of it die."""

import asyncio
import re
import shlex
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
import pytest_asyncio

from tests.support.commands import CommandLine
from tests.support.databases import sqlite_address
from tests.support.gateway import GatewayProcess, free_port, running_gateway
from tests.support.mcp_wire import Wire, text_of

SECONDS = 30.0


@asynccontextmanager
async def first_look(environment: Mapping[str, str] | None = None) -> AsyncIterator[tuple[GatewayProcess, Wire]]:
    """A gateway as `scripts/run` starts it, and a client with the printed token."""
    async with running_gateway(arguments=("--bootstrap",), environment=environment) as gateway:
        token = re.search(r"gw_pat_[A-Za-z0-9_-]{43}", gateway.output.read_text())
        assert token
        async with httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token[0]}"}, timeout=SECONDS, verify=False
        ) as http:
            yield gateway, Wire(http, f"{gateway.url}/mcp")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[GatewayProcess, Wire]]:
    """One for the tests that leave it running."""
    async with first_look({"GATEWAY_SECRET_KEYS": "k3y-of-the-gateway-0123456789-abcdef"}) as look:
        yield look


def family(gateway: GatewayProcess) -> dict[str, psutil.Process]:
    """The processes below the supervisor, by what they are."""
    assert gateway.process is not None
    found: dict[str, psutil.Process] = {}
    for child in psutil.Process(gateway.process.pid).children(recursive=True):
        try:
            words = " ".join(child.cmdline())
        except psutil.Error:  # it ended while we looked
            continue
        for kind, sign in (
            ("worker", "spawn_main"),
            ("runner", "gateway_proxy runner"),
            ("demo", "gateway_proxy.demo"),
        ):
            if sign in words and "keeper" not in words:
                found[kind] = child
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for a fact about other processes, of which nobody sends an event."""
    async with asyncio.timeout(SECONDS):
        while not is_so():
            await asyncio.sleep(0.05)


async def call(wire: Wire) -> str:
    """One call of the demo backend, without a session: any worker, any child."""
    return text_of(await wire.call("demo__add", {"a": 2, "b": 3}))


async def test_a_first_look_prints_its_secrets_once_and_they_work() -> None:
    """Contract, two commands: `scripts/run`."""
    async with first_look() as (gateway, wire):
        printed = gateway.output.read_text()
        assert f"{gateway.url}/sign-in" in printed
        assert f"{gateway.url}/mcp" in printed
        assert f"{gateway.url}/v1" in printed
        assert re.search(
            r"one-time password: \S{20}\n +\(shown this one time; it signs in until you change it", printed
        )
        assert await call(wire) == "5"
        models = await wire.http.get(f"{gateway.url}/v1/models")
        assert models.json()["data"][0]["id"] == "mcp-gateway"
        assert await run_printed(printed, "token create", gateway) != wire.http.headers["authorization"]

        assert gateway.stop() == 0
        gateway.output.write_text("")
        gateway.start()
        await gateway.wait_until_ready()

        again = gateway.output.read_text()
        assert f"{gateway.url}/mcp" in again
        assert "gw_pat_" not in again
        assert "password:" not in again
        assert await call(wire) == "5"
        assert "gw_pat_" not in gateway.log.read_text()


async def run_printed(printed: str, command: str, gateway: GatewayProcess) -> str:
    """Run a command just as it was printed; its output is one token."""
    line = next(line for line in printed.splitlines() if command in line)
    process = await asyncio.create_subprocess_exec(
        *shlex.split(line), env=gateway.environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert re.fullmatch(r"gw_pat_\S+\n", output.decode())
    return f"Bearer {output.decode().strip()}"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_and_a_runner_that_are_killed_are_replaced(shared: tuple[GatewayProcess, Wire]) -> None:
    """Issue: kill -9 of a worker; plan of the supervisor: a dead runner is restarted."""
    gateway, wire = shared
    assert await call(wire) == "5"
    before = family(gateway)
    assert set(before) == {"worker", "runner", "demo"}

    before["worker"].kill()
    await until(lambda: family(gateway).get("worker", before["worker"]) != before["worker"])
    await gateway.wait_until_ready()
    assert await call(wire) == "5"
    assert family(gateway)["demo"] == before["demo"]  # the backend's process outlives a worker

    before["runner"].kill()
    await until(lambda: not is_alive(before["demo"]))
    await until(lambda: "runner" in family(gateway))
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await wire.call("demo__add", {"a": 2, "b": 3})
            if "result" in answer:
                break
            await asyncio.sleep(0.2)
    assert text_of(answer) == "5"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_supervisor_that_is_killed_leaves_nothing_behind(shared: tuple[GatewayProcess, Wire]) -> None:
    """Plan of the supervisor: kill -9 leaves no worker, no runner, no child, and the port is free."""
    gateway, wire = shared
    assert await call(wire) == "5"
    below = family(gateway)

    gateway.kill()

    await until(lambda: not any(is_alive(process) for process in below.values()))
    gateway.start()
    await gateway.wait_until_ready()
    assert await call(wire) == "5"


async def test_sigterm_lets_a_call_in_flight_finish() -> None:
    """Security O3: at most 25 s of draining, children reaped, exit status 0."""
    async with first_look() as (gateway, wire):
        assert await call(wire) == "5"
        below = family(gateway)
        slow = {"name": "demo__slow", "arguments": {"seconds": 3, "steps": 30}, "_meta": {"progressToken": 1}}
        calling = asyncio.create_task(wire.request("tools/call", slow))
        await until(lambda: bool(wire.seen))

        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)

        assert "result" in await calling
        assert await asyncio.to_thread(gateway.process.wait, SECONDS) == 0
        assert not any(is_alive(process) for process in below.values())


@pytest.mark.asyncio(loop_scope="module")
async def test_the_runner_is_not_told_the_gateway_s_secrets(shared: tuple[GatewayProcess, Wire]) -> None:
    """Relay design: the runner has neither keys nor a database."""
    gateway, _ = shared
    runner = family(gateway)["runner"]

    environment = runner.environ()

    assert "GATEWAY_RUNNER_KEY" in environment
    assert not environment.keys() & {"GATEWAY_SECRET_KEYS", "GATEWAY_DATABASE_URL", "GATEWAY_REDIS_URL"}
    data = Path(gateway.environment["GATEWAY_DATA_DIR"])
    (path,) = data.glob("runner-*.sock")
    assert path.stat().st_mode & 0o777 == 0o600
    assert environment["GATEWAY_DATA_DIR"] == str(data / "runner")
    assert (data / "runner" / "caches").stat().st_mode & 0o777 == 0o700


async def test_a_file_and_older_names_are_applied_before_serving(tmp_path: Path) -> None:
    """Contract: CONFIG_PATH, OPENAI_BASE_URL and the others keep working, each with a notice in the log."""
    config = tmp_path / "config.yaml"
    config.write_text("tenants: {acme: {mcpServers: {calc: {command: python}}}}\n")
    older = {
        "CONFIG_PATH": str(config),
        "OPENAI_BASE_URL": "http://127.0.0.1:1234/v1",
        "MCP_SERVER_ENDPOINTS": "http://127.0.0.1:8001/weather",
        "LOG_LEVEL": "INFO",
        "GATEWAY_SECRET_KEYS": "a-key-for-tests-that-is-long-enough-0001",
    }
    async with running_gateway(environment=older) as gateway:
        data = Path(gateway.environment["GATEWAY_DATA_DIR"])
        line = CommandLine(tmp_path, sqlite_address(data / "gateway.db"))

        exported = await asyncio.to_thread(line.run_process, "export")

        assert "calc:\n        command: python" in exported.out
        assert "base_url: http://127.0.0.1:1234/v1" in exported.out
        assert "url: http://127.0.0.1:8001/weather/openapi.json" in exported.out
        log = gateway.log.read_text()
        for name in ("CONFIG_PATH", "OPENAI_BASE_URL", "MCP_SERVER_ENDPOINTS", "LOG_LEVEL"):
            assert log.count(f'"notice": "{name}: ') == 1, name


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, sqlite_address(tmp_path / "gateway.db"), {"GATEWAY_PORT": str(free_port())})


def test_more_workers_than_one_need_redis(line: CommandLine) -> None:
    """Contract: GATEWAY_REDIS_URL; nothing authoritative in process memory (security O7)."""
    done = line.run("serve", "--workers", "2")

    assert (done.status, done.out) == (1, "")
    assert done.err == "error: GATEWAY_REDIS_URL: required when GATEWAY_WORKERS is more than 1\n"
    assert not (line.folder / "gateway.db").exists()


def test_a_wrong_file_ends_the_start_before_anything_is_touched(line: CommandLine) -> None:
    """Contract, errors."""
    done = line.run_process("serve", "--config", line.write("bad.yaml", "tenants: {acme: {nam: x}}"))

    assert done.status == 1
    assert done.err.splitlines()[-1] == 'error: bad.yaml: tenants.acme.nam: unknown key (did you mean "name"?)'
    assert not (line.folder / "gateway.db").exists()


def test_nothing_serves_before_the_database_is_prepared_and_what_failed_is_said_last(line: CommandLine) -> None:
    """Contract, errors; ADR 12: workers start beside the preparation, which here waits for an answer in vain."""
    port, family = int(line.extra["GATEWAY_PORT"]), set[psutil.Process]()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line.database_url = f"postgresql+asyncpg://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        with line.started("serve") as process:
            while process.poll() is None:
                family |= set(psutil.Process(process.pid).children(recursive=True))
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                time.sleep(0.05)  # nobody sends an event when an address is not listened on

    last = (line.folder / "command.log").read_text().splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith("error: the database cannot be reached")
    assert len(family) >= 3  # the preparation, the runner, the worker
    assert not psutil.wait_procs(family, timeout=SECONDS)[1]  # what sees its parent's end by itself needs a moment


@pytest.mark.parametrize(
    ("fault", "message"),
    [("runner", "the runner ended"), ("file", "users[0].tenants.nowhere: no such tenant")],
    ids=["runner", "file"],
)
def test_a_first_look_whose_start_fails_prints_its_secrets_all_the_same(fault: str, message: str) -> None:
    """Contract, two commands: they are stored by then and known to no later start. What failed stands last."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:  # short, for the sake of the runner's socket
        line = CommandLine(
            Path(folder), sqlite_address(Path(folder) / "gateway.db"), {"GATEWAY_PORT": str(free_port())}
        )
        stranger = line.write("gateway.yaml", "users: [{email: ann@example.com, tenants: {nowhere: owner}}]")
        if fault == "runner":
            (line.folder / "data").mkdir()
            (line.folder / "data" / f"runner-{line.extra['GATEWAY_PORT']}.sock").touch()
        done = line.run_process("serve", "--bootstrap", *(("--config", stranger) if fault == "file" else ()))
        tokens = line.must("token", "list", "--tenant", "default")

    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"error: {message}")
    assert "one-time password: " in done.out
    assert "gw_pat_" in done.out
    assert "first start" in tokens


def test_an_address_that_is_taken_is_one_line(line: CommandLine) -> None:
    """Contract, errors: what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = line.run_process("serve", "--port", str(port))

    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1 port {port}: "
        "the address is in use; stop what listens there, or choose another port"
    )


def test_a_runner_without_a_key_is_refused_and_a_silent_one_is_unhealthy(line: CommandLine) -> None:
    """Contract: `runner --listen`; the container's health check."""
    keyless = line.run("runner", "--listen", "unix:r.sock")
    line.extra["GATEWAY_RUNNER_KEY"] = "a-runner-key-for-tests-0001"
    silent = line.run("runner", "--listen", f"unix:{line.folder}/r.sock", "--check")
    wrong = line.run("runner", "--listen", "nowhere", "--check")

    assert (keyless.status, keyless.err.count("\n")) == (1, 1)
    assert keyless.err.startswith("error: GATEWAY_RUNNER_KEY: required")
    assert (silent.status, silent.err) == (1, f"error: no runner answers at unix:{line.folder}/r.sock\n")
    assert wrong.status == 2


def test_a_living_runner_is_healthy(line: CommandLine) -> None:
    """The container's health check; only with the key."""
    line.extra["GATEWAY_RUNNER_KEY"] = "a-runner-key-for-tests-0001"
    arguments = ("runner", "--listen", "unix:r.sock")
    with line.started(*arguments) as process:
        while line.run(*arguments, "--check").status != 0:
            assert process.poll() is None
        line.extra["GATEWAY_RUNNER_KEY"] = "another-runner-key-for-tests"
        stranger = line.run(*arguments, "--check")

    assert (stranger.status, "answered 401" in stranger.err) == (1, True)
    assert process.returncode == 0
