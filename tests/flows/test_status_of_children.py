"""Story: an administrator sees why a program does not start, and nobody else sees what it wrote (compatibility C10)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.admin_site import PLATFORM_KEY, AdminSite, open_admin_site
from tests.support.runner import KEY, RunnerProcess, child_spec, host, new_key, running_runner

SECRET = "s3cret-of-the-definition"
NO_LICENCE = "import os, sys; sys.stderr.write('\\x1b[31mno licence: ' + os.environ['LICENCE'] + '\\n'); sys.exit(7)"


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    """A real runner."""
    with running_runner(tmp_path) as process:
        yield process


@pytest.fixture
async def http(runner: RunnerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with runner.open_http() as http:
        yield http


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path, runner: RunnerProcess) -> AsyncIterator[AdminSite]:
    """The application with that runner."""
    environment = {"GATEWAY_RUNNER_URL": f"unix:{runner.socket}", "GATEWAY_RUNNER_KEY": KEY}
    async with open_admin_site(sqlite_url, tmp_path / "data", environment=environment) as site:
        yield site


async def _until_failing(site: AdminSite, token: str = PLATFORM_KEY) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            (entry,) = (await site.ask("GET", "/status", token=token)).json()["backends"]
            if entry["state"] == "failing":
                found: dict[str, Any] = entry
                return found
            assert entry["fault"] is None
            await asyncio.sleep(0.05)


async def test_a_program_that_ends_at_once_is_explained_to_administrators_only(
    site: AdminSite, runner: RunnerProcess
) -> None:
    """Where the problem is shown; without the definition's secrets; in no log and in no error of a tool."""
    definition = {"command": sys.executable, "args": ["-c", NO_LICENCE], "env": {"LICENCE": SECRET}}
    await site.configure(mcpServers={"gone": definition})
    for token in (PLATFORM_KEY, site.admin):
        entry = await _until_failing(site, token)
        assert entry["problem"] == "it could not be started"
        assert entry["fault"]["stderr"] == ["no licence: [redacted]"]
        assert entry["fault"]["reason"] in (
            "it ended right after its start", "it ended before it answered initialize", "it ended by itself, status 7",
        )  # fmt: skip
    assert (await site.ask("GET", "/status", token=site.member, tenant=None)).status_code == 403
    answer = await site.wire().request("tools/call", {"name": "gone__x", "arguments": {}})
    for told in (json.dumps(answer), runner.log.read_text()):
        assert "licence" not in told
        assert SECRET not in told


async def test_a_command_that_is_not_there_is_named_as_the_reason(site: AdminSite) -> None:
    """There is nothing to quote then, but something to say."""
    await site.configure(mcpServers={"gone": {"command": "/no/such/program"}})
    assert (await _until_failing(site))["fault"] == {"reason": "the command was not found", "stderr": []}


async def test_a_server_that_works_or_is_no_program_has_no_fault(site: AdminSite) -> None:
    """The last words of an earlier life are nobody's problem."""
    await site.configure(mcpServers={"far": {"url": "http://127.0.0.1:1/mcp"}})
    assert (await _until_failing(site))["fault"] is None


async def test_a_fault_is_known_while_the_child_is_still_ending_and_until_one_is_of_use(
    http: httpx2.AsyncClient,
) -> None:
    """A crash in the middle of a call is remembered until the next life has answered something."""
    slow = await host(http, child_spec("stubborn", start_timeout=0.3), initialize=False)
    assert (await http.get(f"/children/{slow.key}/fault")).status_code == 404
    key = new_key()
    silent = child_spec("silent", start_timeout=0.3)
    hosted = await host(http, silent, key=key, initialize=False)
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    assert (await http.post(f"/children/{hosted.key}/mcp", json=initialize)).status_code == 502
    fault = (await http.get(f"/children/{key}/fault")).json()
    assert fault == {"reason": "it did not answer initialize within 0.3 seconds", "stderr": []}

    crasher = await host(http, child_spec("crasher"))
    await crasher.call("crash")
    async with asyncio.timeout(10):
        while (answer := await http.get(f"/children/{crasher.key}/fault")).status_code != 200:
            await asyncio.sleep(0.01)
    assert answer.json()["stderr"] == ["about to crash with secret-looking words"]
    again = await host(http, child_spec("crasher"), key=crasher.key)
    assert (await http.get(f"/children/{crasher.key}/fault")).status_code == 200
    await again.call("ok")
    assert (await http.get(f"/children/{crasher.key}/fault")).status_code == 404
    assert (await http.get(f"/children/{new_key()}/fault")).status_code == 404
