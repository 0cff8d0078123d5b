"""Story: children that take too much: output, memory, processes, places, time (issue 3, deliverables 3 and 5)."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import psutil
import pytest

from tests.support.runner import (
    ROOT,
    RunnerProcess,
    call_message,
    child_spec,
    host,
    new_key,
    running_runner,
    status_of,
    until_ended,
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One runner for the module; it allows two commands and nine children."""
    allowed = [sys.executable, "python-that-is-not-there"]
    with running_runner(tmp_path_factory.mktemp("runner"), allow_commands=allowed, max_children=9) as runner:
        yield runner


@pytest.fixture
async def http(runner: RunnerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it, which leaves no child behind."""
    async with runner.open_http() as http:
        yield http
        for row in (await http.get("/children")).json()["children"]:
            await http.delete(f"/children/{row['key']}")


@pytest.mark.parametrize("what", ["notifications", "garbage", "stderr", "line", "progress"])
async def test_a_flood_costs_little_memory_and_the_child_goes_on(
    runner: RunnerProcess, http: httpx2.AsyncClient, what: str
) -> None:
    """F8: bounded memory, whoever reads or does not; the call is answered all the same, unless it wrote no answer."""
    hosted = await host(http, child_spec("flooder"))
    quiet = await host(http, child_spec("counter"))
    process = psutil.Process(runner.pid)
    base = process.memory_info().rss
    megabytes = 1 if what in ("progress", "garbage") else 40
    token = "t" if what == "progress" else None
    async with asyncio.timeout(60), http.stream("GET", hosted.path, headers=hosted.session):
        began = time.monotonic()
        flood = asyncio.create_task(hosted.call("flood", what=what, megabytes=megabytes, token=token))
        peak, slowest = base, 0.0
        while not flood.done():
            started = time.monotonic()
            await quiet.call("count")
            slowest = max(slowest, time.monotonic() - started)
            peak = max(peak, process.memory_info().rss)
        answer = await flood
        took = time.monotonic() - began
    if what == "line":
        assert answer.response["error"]["message"] == "the backend's answer is too large"
    else:
        assert answer.text == "flooded"
    assert peak - base < 50_000_000
    assert slowest < 2
    assert took > 2 or what != "garbage"  # 43,000 lines: short ones are held to a pace, too, for the others' sake
    row = await status_of(http, hosted.key)
    assert len(row["stderr"]) <= 100
    assert all(len(line) <= 2048 for line in row["stderr"])
    assert (await hosted.call("ok")).text == "ok"


@pytest.mark.parametrize("order", ["first", "last"])
async def test_an_answer_over_four_mebibytes_fails_its_call_only(http: httpx2.AsyncClient, order: str) -> None:
    """security.md P5: line limit 4 MiB."""
    hosted = await host(http, child_spec("giant"))
    fits = await hosted.call("grow", order=order, bytes=4 * 1024 * 1024 - 300)
    assert len(fits.text) == 4 * 1024 * 1024 - 300
    large, other = await asyncio.gather(
        hosted.call("grow", request_id="g", order=order, bytes=5 * 1024 * 1024), hosted.call("ok")
    )
    assert large.response["id"] == "g"
    assert large.response["error"] == {"code": -32000, "message": "the backend's answer is too large"}
    assert other.text == "ok"


async def test_a_giant_answer_of_unknown_owner_restarts_the_child(http: httpx2.AsyncClient) -> None:
    """Nobody may wait for ever for an answer that was thrown away."""
    hosted = await host(http, child_spec("giant"))
    async with asyncio.timeout(15):
        answers = await asyncio.gather(
            hosted.call("grow", order="hidden", bytes=5 * 1024 * 1024, request_id=1),
            hosted.call("grow", order="hidden", bytes=5 * 1024 * 1024, request_id=2),
        )
    assert {answer.response["error"]["message"] for answer in answers} <= {
        "backend process ended",
        "the backend's answer is too large",
    }
    row = await until_ended(http, hosted.key)
    assert row["failure"] == "it wrote a line over the limit"


async def test_a_caller_that_does_not_read_holds_up_neither_the_child_nor_others(http: httpx2.AsyncClient) -> None:
    """security.md D3: 1 MiB queue per reader."""
    hosted = await host(http, child_spec("flooder"))
    call = call_message("flood", what="progress", megabytes=2, token="t" * 1000)
    async with asyncio.timeout(60), http.stream("POST", hosted.path, json=call, headers=hosted.session):
        while (await status_of(http, hosted.key))["calls_in_flight"]:
            await asyncio.sleep(0.1)
        assert (await hosted.call("ok")).text == "ok"


async def test_the_environment_is_built_from_nothing(http: httpx2.AsyncClient) -> None:
    """security.md P2, P3; compatibility.md B4."""
    hosted = await host(
        http, child_spec("counter", "--an argument; $(with) 'quotes'", env={"TOKEN": "a=b\nc", "LANG": "x"})
    )
    told = json.loads((await hosted.call("tell")).text)
    environ = told["environ"]
    assert set(environ) <= {"PATH", "HOME", "LANG", "TOKEN", "LC_CTYPE"}  # Python itself sets the last
    assert (environ["TOKEN"], environ["LANG"]) == ("a=b\nc", "x")
    assert "gateway-runner-" in environ["HOME"]
    assert told["argv"] == ["--an argument; $(with) 'quotes'"]
    assert told["cwd"] == str(ROOT)
    assert told["core"] == [0, 0]
    assert told["files"][1] <= 4096
    assert told["pid"] == told["session"] == told["group"]
    assert told["no_new_privs"] is True


async def test_memory_bytes_is_a_limit(http: httpx2.AsyncClient) -> None:
    """Seam: RLIMIT_AS only when asked for, since node reserves far more than it uses."""
    hosted = await host(http, child_spec("counter", memory_bytes=512 * 1024 * 1024))
    assert json.loads((await hosted.call("tell")).text)["memory"] == [512 * 1024 * 1024] * 2


async def test_a_child_with_too_many_processes_is_stopped(http: httpx2.AsyncClient) -> None:
    """F8: fork bomb."""
    hosted = await host(http, child_spec("spawner"))
    await hosted.call("bomb", processes=300)  # answered or not: on a busy machine it is stopped before
    row = await until_ended(http, hosted.key, seconds=20)
    assert row["failure"] == "it started too many processes"


async def test_an_idle_child_is_reaped_and_a_listened_to_one_is_not(http: httpx2.AsyncClient) -> None:
    """relay.md 4: idle reaping; an open stream keeps a child."""
    idle = await host(http, child_spec("counter", idle_timeout=0.5))
    kept = await host(http, child_spec("counter", idle_timeout=0.5))
    async with asyncio.timeout(15), kept.stream():
        row = await until_ended(http, idle.key)
        assert row["failure"] is None
        assert (await kept.call("count")).text == "1"
    assert (await idle.call("count")).status == 404
    fresh = await host(http, child_spec("counter"), key=idle.key)
    assert (await fresh.call("count")).text == "1"


async def test_a_tenant_at_its_limit_gets_429_and_others_do_not_notice(http: httpx2.AsyncClient) -> None:
    """security.md T8: per-tenant cap, also when all starts come at once."""
    spec = child_spec("counter", max_per_tenant=2)
    responses = await asyncio.gather(*(http.put(f"/children/{new_key()}", json=spec) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429, 429]
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.json() == {"error": "tenant_limit", "detail": "the tenant already runs 2 servers"}
    await host(http, child_spec("counter", tenant="other", max_per_tenant=2))


async def test_a_full_runner_says_so(http: httpx2.AsyncClient) -> None:
    """relay.md 4: global cap."""
    specs = [child_spec("counter", tenant=f"tenant-{number}") for number in range(11)]
    responses = await asyncio.gather(*(http.put(f"/children/{new_key()}", json=spec) for spec in specs))
    assert sorted(response.status_code for response in responses) == [200] * 9 + [503] * 2
    assert {response.json()["error"] for response in responses if response.status_code == 503} == {"runner_full"}


async def test_concurrent_requests_for_one_child_start_it_once(runner: RunnerProcess, http: httpx2.AsyncClient) -> None:
    """Seam: PUT is idempotent."""
    key = new_key()
    responses = await asyncio.gather(*(http.put(f"/children/{key}", json=child_spec("counter")) for _ in range(8)))
    assert len({response.json()["instance"] for response in responses}) == 1
    assert len([process for process in runner.descendants() if "counter" in " ".join(process.cmdline())]) == 1


async def test_a_command_off_the_allow_list_is_forbidden(http: httpx2.AsyncClient) -> None:
    """security.md P1."""
    response = await http.put(
        f"/children/{new_key()}", json={"tenant": "acme", "command": "/bin/sh", "args": ["-c", "id"]}
    )
    assert (response.status_code, response.json()["error"]) == (403, "command_not_allowed")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"command": None}, "command: expected a command name or path (transport stdio)"),
        ({"command": "a\0b"}, "command: expected text without NUL bytes"),
        ({"args": "x"}, "args: expected `array`"),
        ({"args": [1]}, "args[0]: expected `str`"),
        ({"env": {"A=B": "c"}}, "env: expected names of letters, digits and underscores"),
        ({"cwd": "/no/such/place"}, "cwd: expected an existing directory on the runner's host"),
        ({"encoding": "utf-16"}, "encoding: expected a text encoding that contains ASCII, such as utf-8 or latin-1"),
        ({"encoding_error_handler": "x"}, "encoding_error_handler: expected one of the documented values"),
        ({"transport": "sse"}, "url: expected an http or https URL without user name and fragment (transport sse)"),
        ({"start_timeout": 0}, "start_timeout: expected `float` > 0.0"),
        ({"surprise": 1}, "surprise: expected no field of that name"),
        ({"tenant": None}, "tenant: expected `str`"),
    ],
)
async def test_a_wrong_specification_names_the_field(
    http: httpx2.AsyncClient, change: dict[str, Any], detail: str
) -> None:
    """contract.md, Errors: the message names the field and what was expected."""
    response = await http.put(f"/children/{new_key()}", json={**child_spec("counter"), **change})
    assert (response.status_code, response.json()) == (400, {"error": "bad_spec", "detail": detail})
