"""Secret keys over their life: `keys rotate` as it is typed, and gateways that start with the right or a wrong key."""

import asyncio
import signal
from pathlib import Path

import httpx2
import pytest

from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.commands import CommandLine
from tests.support.form_filling import sign_in
from tests.support.gateway import free_port, running_gateway
from tests.support.mcp_wire import Wire, text_of

OLD = "a-key-for-tests-that-is-long-enough-0001"
NEW = "another-key-for-tests-that-is-long-0002"
CONFIG = """
tenants:
  acme:
    mcpServers:
      calc: {command: python, args: [-m, calc], env: {KEY: value-s3cret}}
    providers:
      local: {kind: openai, base_url: "http://127.0.0.1:1/v1", api_key: key-s3cret}
    proxy_api_keys: [{name: bob, key: a-static-key-of-bob}]
"""


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path, database_url)
    line.must("apply", line.write("gateway.yaml", CONFIG))
    return line


def with_keys(line: CommandLine, *keys: str) -> CommandLine:
    line.extra["GATEWAY_SECRET_KEYS"] = ",".join(keys)
    return line


def test_keys_are_rotated_and_the_old_one_is_not_needed_any_more(line: CommandLine) -> None:
    """Contract: `keys rotate`; security K2."""
    before = with_keys(line, NEW, OLD).must("keys", "rotate", "--dry-run")
    done = line.run("keys", "rotate")
    after = with_keys(line, NEW).must("keys", "rotate", "--dry-run")
    exported = line.run("export")

    assert [row.split()[0::2][:2] for row in before.splitlines()] == [
        ["TABLE", "ID"],
        ["backends", "2"],
        ["providers", "1"],
    ]
    assert before.count("number 2") == 2
    assert (done.status, done.out) == (
        0,
        "backends: 2 values sealed anew\nproviders: 1 values sealed anew\nkey_probes: 0 values sealed anew\n",
    )
    assert done.err.startswith("notice: 1 keys of /v1 are kept as digests")
    assert after.count("the first") == 2
    assert exported.status == 0
    assert "s3cret" not in done.out + done.err + before + after


def test_values_that_no_key_opens_are_named_and_can_be_removed(line: CommandLine) -> None:
    """Security F16: lost key: only those secrets fail, named."""
    with_keys(line, NEW)
    both = line.run("keys", "rotate", "--dry-run", "--remove-unreadable")
    named = line.run("keys", "rotate")
    removed = line.run("keys", "rotate", "--remove-unreadable")
    again = line.run("keys", "rotate")

    assert both.status == 2
    assert named.status == 1
    problems = named.err.replace("error: ", "").splitlines()
    assert [problem.split(" is sealed under key ")[0] for problem in problems if "sealed" in problem] == [
        "backends acme/calc: args",
        "backends acme/calc: env",
        "providers acme/local: api_key",
    ]
    assert "s3cret" not in named.err + removed.out
    assert (removed.status, removed.err) == (0, "")
    assert "backends: 0 values sealed anew, 1 definitions removed: acme/calc\n" in removed.out
    assert (again.status, again.err) == (0, "")


def test_a_gateway_with_a_wrong_key_refuses_to_start(sqlite_url: str, tmp_path: Path) -> None:
    """Security F16: wrong key: refuses to start with a clear message, before anything is applied."""
    line = CommandLine(tmp_path, sqlite_url, {"GATEWAY_PORT": str(free_port())})
    line.must("apply", line.write("gateway.yaml", CONFIG))
    with_keys(line, NEW)

    done = line.run_process("serve", "--config", "gateway.yaml")

    assert done.status == 1
    assert (
        "error: none of the 3 stored secrets opens with GATEWAY_SECRET_KEYS; put back the key with the id " in done.err
    )
    assert "configuration_changed" not in done.err
    assert with_keys(line, OLD).run("keys", "rotate").status == 0


async def test_a_gateway_that_lost_one_of_its_keys_starts_and_names_what_is_lost(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Security F16: lost key: only those secrets fail, named."""
    line = CommandLine(tmp_path, sqlite_url)
    await asyncio.to_thread(line.must, "apply", line.write("gateway.yaml", CONFIG))
    with_keys(line, NEW)
    second = CONFIG.replace("acme", "beta").replace("of-bob", "of-another")
    await asyncio.to_thread(line.must, "apply", line.write("second.yaml", second))
    environment = {"GATEWAY_DATABASE_URL": sqlite_url, "GATEWAY_SECRET_KEYS": NEW}

    async with running_gateway(environment=environment) as gateway:
        log = gateway.log.read_text()

    lost = [entry for entry in log.splitlines() if "secret_unreadable" in entry]
    assert len(lost) == 3
    assert all('"tenant": "acme"' in entry or '"tenant":"acme"' in entry for entry in lost)
    assert "s3cret" not in log


async def test_keys_rotate_under_calls_and_nobody_is_signed_out(tmp_path: Path) -> None:
    """Security F16, O1: no failed call in a rotation, no log-out; once the old key is gone, what it signed is gone.

    The keys are in a file, which a SIGHUP makes the workers read again.
    """
    keys = tmp_path / "keys"
    keys.write_text(OLD)
    async with (
        bootstrapped_gateway({"GATEWAY_SECRET_KEYS_FILE": str(keys)}) as gateway,
        httpx2.AsyncClient(base_url=gateway.url) as browser,
        httpx2.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {gateway.token}"}) as http,
    ):
        data = gateway.process.environment["GATEWAY_DATA_DIR"]
        line = CommandLine(tmp_path, f"sqlite+aiosqlite:///{data}/gateway.db")
        assert (await sign_in(browser, gateway.email, gateway.password)).status_code == 303

        async def change_to(text: str) -> int:
            gone = gateway.process.log.read_text().count("Application shutdown complete")
            keys.write_text(text)
            assert gateway.process.process is not None
            gateway.process.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(40):  # until the old worker has gone: its successor serves beside it before that
                while gateway.process.log.read_text().count("Application shutdown complete") == gone:
                    await asyncio.sleep(0.1)
            await gateway.process.wait_until_ready()
            return (await browser.get("/account")).status_code

        async def call() -> str:
            return text_of(await Wire(http, f"{gateway.url}/mcp").call("demo__add", {"a": 2, "b": 3}))

        assert await change_to(f"{NEW},{OLD}") == 200
        rotation = asyncio.create_task(asyncio.to_thread(with_keys(line, NEW, OLD).run_process, "keys", "rotate"))
        answers = [await call()]
        while not rotation.done():
            answers.append(await call())
        done = await rotation
        assert set(answers) == {"5"}
        assert (done.status, done.out.splitlines()[0]) == (0, "backends: 1 values sealed anew")
        assert await change_to(NEW) == 303
        assert await call() == "5"
