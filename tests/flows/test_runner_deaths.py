"""Story: processes die, and nothing is left behind or left waiting (issue 3 deliverable 3, security.md P4, P5, F8)."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.support.runner import (
    Hosted,
    RunnerProcess,
    call_message,
    child_spec,
    host,
    new_key,
    running_runner,
    start_runner,
    status_of,
    until_ended,
    until_gone,
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One runner for the tests that do not kill it."""
    with running_runner(tmp_path_factory.mktemp("runner")) as runner:
        yield runner


@pytest.fixture
async def http(runner: RunnerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with runner.open_http() as http:
        yield http


async def test_a_crash_in_mid_call_fails_that_call_at_once_and_the_next_gets_a_fresh_child(
    http: httpx2.AsyncClient,
) -> None:
    """Issue 3: child crash mid-call gives that call an error and the next call a fresh child."""
    key = new_key()
    pids = set()
    for _ in range(3):
        hosted = await host(http, child_spec("crasher"), key=key)
        pids.add((await hosted.call("ok")).text)
        async with asyncio.timeout(10):
            hanging, crashed = await asyncio.gather(
                hosted.call("hang", request_id="h"), hosted.call("crash", request_id="c")
            )
        for answer, request_id in ((hanging, "h"), (crashed, "c")):
            assert answer.response["id"] == request_id
            assert answer.response["error"] == {"code": -32000, "message": "backend process ended"}
        gone = await hosted.call("ok")
        assert gone.status == 404
    assert len(pids) == 3
    row = await status_of(http, key)
    assert (row["state"], row["exit_status"], row["failures"]) == ("ended", 3, 0)
    assert row["stderr"] == ["about to crash with secret-looking words"]


async def test_five_failures_open_the_breaker(http: httpx2.AsyncClient) -> None:
    """security.md P5: restart with back-off and breaker; nothing of stderr reaches the caller."""
    key, seen = new_key(), []
    spec = child_spec("crasher", "at-once")
    for _ in range(6):
        response = await http.put(f"/children/{key}", json=spec)
        if response.status_code == 200:
            answer = await Hosted(http, key, response.json()["instance"]).initialize()
            assert "configuration is missing" not in json.dumps(answer.messages)
            seen.append(answer.status)
        else:
            seen.append(response.status_code)
    assert set(seen[:5]) <= {404, 502}  # it can end before its handshake is asked for
    assert seen[5] == 503
    assert response.json()["error"] == "breaker_open"
    assert 20 <= int(response.headers["retry-after"]) <= 30
    row = await status_of(http, key)
    assert row["breaker"] == "open"
    assert row["stderr"] == ["cannot start: the configuration is missing"]


async def test_a_child_that_never_answers_initialize_is_stopped_in_time(http: httpx2.AsyncClient) -> None:
    """security.md P5: start time-out."""
    key = new_key()
    hosted = await host(http, child_spec("silent", start_timeout=0.5), key=key, initialize=False)
    pid = (await status_of(http, key))["pid"]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(hosted.initialize() for _ in range(3)))
    assert [answer.status for answer in answers] == [502] * 3
    assert answers[0].response == {
        "error": "start_failed",
        "detail": "it did not answer initialize within 0.5 seconds",
    }
    await until_gone([pid])
    assert (await until_ended(http, key))["failures"] == 1


@pytest.mark.parametrize(
    ("command", "detail"),
    [("no-such-command-anywhere", "the command was not found"), ("/etc/passwd", "the command is not executable")],
)
async def test_a_command_that_cannot_be_run_says_so(http: httpx2.AsyncClient, command: str, detail: str) -> None:
    """Seam: 502 start_failed."""
    response = await http.put(f"/children/{new_key()}", json={"tenant": "acme", "command": command})
    assert (response.status_code, response.json()) == (502, {"error": "start_failed", "detail": detail})


async def test_a_child_that_ignores_sigterm_is_killed_after_five_seconds(http: httpx2.AsyncClient) -> None:
    """security.md P4: SIGTERM → 5 s → SIGKILL, reaped."""
    hosted = await host(http, child_spec("stubborn"))
    row = await status_of(http, hosted.key)
    async with asyncio.timeout(12):
        response = await http.delete(f"/children/{hosted.key}")
    assert response.json() == {"ended": True}
    await until_gone([row["pid"]], seconds=1)
    assert (await hosted.call("ok")).status == 404
    assert (await http.delete(f"/children/{hosted.key}")).status_code == 404


async def test_grandchildren_go_with_the_child_even_from_sessions_of_their_own(http: httpx2.AsyncClient) -> None:
    """security.md P4, F8: npx and uvx start the server as a child of theirs; some servers start browsers."""
    hosted = await host(http, child_spec("spawner"))
    pids = json.loads((await hosted.call("spawn")).text)
    assert all(psutil.pid_exists(pid) for pid in pids.values())
    await http.delete(f"/children/{hosted.key}")
    await until_gone(list(pids.values()), seconds=2)


async def test_a_killed_keeper_leaves_nothing_either(tmp_path: Path) -> None:
    """The runner adopts what a killed keeper kept, and kills it; calls in flight get their error."""
    with running_runner(tmp_path) as runner:
        async with runner.open_http() as http:
            hosted = await host(http, child_spec("spawner"))
            pids = json.loads((await hosted.call("spawn")).text)
            keeper = psutil.Process(pids["self"]).ppid()
            assert psutil.Process(keeper).ppid() == runner.pid
            os.kill(keeper, signal.SIGKILL)
            await until_gone([keeper, *pids.values()])
            assert (await hosted.call("spawn")).status == 404
            await host(http, child_spec("counter"), key=hosted.key)


async def test_killing_the_runners_parent_ends_the_runner_and_all_children(tmp_path: Path) -> None:
    """Issue 3: no orphan after kill -9 of the gateway, when its supervisor started the runner."""
    with running_runner(tmp_path, parent_death=True, through_a_parent=True) as runner:
        async with runner.open_http() as http:
            await host(http, child_spec("counter"))
            spawner = await host(http, child_spec("spawner"))
            hidden = json.loads((await spawner.call("spawn")).text)
        pids = [*(process.pid for process in runner.descendants()), *hidden.values()]
        assert len(pids) >= 8
        os.kill(runner.pid, signal.SIGKILL)
        runner.process.wait()
        await until_gone(pids, seconds=10)


async def test_no_zombie_is_left_after_many_crashes(runner: RunnerProcess, http: httpx2.AsyncClient) -> None:
    """Issue 3: always reaped; descriptors return to base."""
    key = new_key()
    base = psutil.Process(runner.pid).num_fds()
    for _ in range(20):
        hosted = await host(http, child_spec("crasher"), key=key)
        await hosted.call("ok")
        await hosted.call("crash")
    await http.delete(f"/children/{key}")
    assert not [process for process in runner.descendants() if process.status() == psutil.STATUS_ZOMBIE]
    assert psutil.Process(runner.pid).num_fds() <= base + 3


async def test_killing_the_runner_leaves_no_process(tmp_path: Path) -> None:
    """Issue 3: no orphan after kill -9 of the runner, within 10 seconds, whatever its children do."""
    with running_runner(tmp_path) as runner:
        async with runner.open_http() as http:
            spawner = await host(http, child_spec("spawner"))
            hidden = json.loads((await spawner.call("spawn")).text)
            await host(http, child_spec("stubborn"))
            await host(http, child_spec("gateway_proxy.demo"))
            pids = [*(process.pid for process in runner.descendants()), *hidden.values()]
            assert len(pids) >= 9
            os.kill(runner.pid, signal.SIGKILL)
            runner.process.wait()
        await until_gone(pids, seconds=10)


async def test_sigterm_ends_children_and_calls_and_the_exit_status_is_zero(tmp_path: Path) -> None:
    """Seam: SIGTERM → children SIGTERM → 5 s → SIGKILL, all reaped, exit 0; the socket and the homes are gone."""
    with running_runner(tmp_path) as runner:
        async with runner.open_http() as http:
            hosted = await host(http, child_spec("worker"))
            await host(http, child_spec("stubborn"))
            pids = [process.pid for process in runner.descendants()]
            call = call_message("wait", token="t")
            async with hosted.streaming_call(call) as messages, hosted.stream() as stream:
                await anext(messages)
                runner.process.send_signal(signal.SIGTERM)
                failed = await anext(messages)
                assert failed["error"]["message"] == "backend process ended"
                assert [message async for message in stream] == []
        assert await asyncio.to_thread(runner.process.wait, 12) == 0
        await until_gone(pids, seconds=1)
        assert not runner.socket.exists()


async def test_the_next_runner_takes_over_a_dead_ones_socket_and_homes_but_never_a_living_ones(tmp_path: Path) -> None:
    """A killed runner leaves its socket file and its children's homes; neither may trouble the next one."""
    with running_runner(tmp_path) as runner:
        with pytest.raises(AssertionError, match="another runner listens"):
            start_runner(tmp_path, listen=f"unix:{runner.socket}")
        async with runner.open_http() as http:
            hosted = await host(http, child_spec("counter"))
            home = Path(json.loads((await hosted.call("tell")).text)["environ"]["HOME"])
            os.kill(runner.pid, signal.SIGKILL)
            runner.process.wait()
        assert home.is_dir()
        with running_runner(tmp_path, at=runner.socket) as successor:
            async with successor.open_http() as http:
                assert (await http.get("/health")).json() == {"status": "ok"}
            assert not home.parent.exists()
