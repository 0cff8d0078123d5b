"""Children that take long to start: shown as starting, waited for no longer than others, and there in the end."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway_proxy.backends import opening, upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import BackendUnavailable
from gateway_proxy.router import kind_list, shelf
from gateway_proxy.router.trials import Trials
from tests.flows.test_relay_calls import call, texts
from tests.support.relay_rooms import Relay, make_context, open_relay, stdio_backend
from tests.support.runner import KEY, ROOT, RunnerProcess, running_runner


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    """A real runner."""
    with running_runner(tmp_path) as process:
        yield process


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """The file that the child waits for."""
    return tmp_path / "sign"


def late(sign: Path, *, start_timeout: float = 60.0) -> Backend:
    """A child that answers once `sign` exists."""
    return stdio_backend(
        "late",
        id=f"late-{time.time_ns()}",
        command=sys.executable,
        args=("-m", "tests.support.children.latecomer", str(sign)),
        cwd=str(ROOT),
        start_timeout=start_timeout,
    )


async def _state(relay: Relay) -> tuple[str, str | None]:
    (status,) = await relay.catalog.status(make_context())
    return status.state, status.problem


async def _until_state(relay: Relay, state: str) -> str | None:
    async with asyncio.timeout(20):
        while (found := await _state(relay))[0] != state:
            await asyncio.sleep(0.02)
    return found[1]


def _child(runner: RunnerProcess, sign: Path) -> psutil.Process:
    (child,) = [each for each in runner.descendants() if str(sign) in each.cmdline()]
    return child


async def _until_all_ended(runner: RunnerProcess) -> None:
    async with runner.open_http() as http, asyncio.timeout(20):
        while any(row["state"] != "ended" for row in (await http.get("/children")).json()["children"]):
            await asyncio.sleep(0.02)


async def test_a_slow_start_is_starting_and_no_failure_however_many_calls_give_up_on_it(
    runner: RunnerProcess, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that has to be downloaded first is not broken: nobody waits long, nothing is counted against it."""
    monkeypatch.setattr(shelf, "FIRST_LIST_WAIT", 0.05)
    monkeypatch.setattr(kind_list, "START_WAIT", 0.05)
    async with open_relay([late(sign)], runner=str(runner.socket), runner_key=KEY) as relay:
        assert await relay.names() == []
        for _ in range(7):
            with pytest.raises(BackendUnavailable) as caught:
                await call(relay, "late__ok")
            assert (caught.value.is_starting, caught.value.retry_after) == (True, 5.0)
            assert await _state(relay) == ("starting", None)
        sign.touch()
        await _until_state(relay, "ready")
        assert texts(await call(relay, "late__ok")) == ["here"]


async def test_a_call_on_a_known_tool_waits_a_while_for_the_start_which_goes_on_without_it(
    runner: RunnerProcess, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The breaker counts failures, and a start that is under way is none; what it comes to serves the next call."""
    backend = late(sign)
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay:
        sign.touch()
        await call(relay, "late__ok")
        sign.unlink()
        _child(runner, sign).kill()
        await _until_all_ended(runner)
        monkeypatch.setattr(upstreams, "START_PATIENCE", 0.1)
        for _ in range(7):
            with pytest.raises(BackendUnavailable) as caught:
                await call(relay, "late__ok")
            assert caught.value.is_starting
        assert relay.upstreams.trouble_of(backend) is None
        child = _child(runner, sign)
        sign.touch()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert texts(await call(relay, "late__ok")) == ["here"]
                    break
                except BackendUnavailable:
                    await asyncio.sleep(0.02)
        assert child.is_running()


async def test_a_start_may_take_longer_than_a_handshake_over_http(
    runner: RunnerProcess, sign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is the definition's, not that of servers that run already."""
    monkeypatch.setattr(opening, "HANDSHAKE_TIMEOUT", 0.1)
    async with open_relay([late(sign)], runner=str(runner.socket), runner_key=KEY) as relay:
        listing = asyncio.create_task(relay.names())
        await asyncio.sleep(0.3)
        assert not listing.done()
        sign.touch()
        assert await listing == ["late__ok"]


async def test_a_child_that_is_not_there_within_its_start_timeout_has_failed(runner: RunnerProcess, sign: Path) -> None:
    """`start_timeout` of the definition is what the runner keeps to; a trial says so too."""
    async with open_relay([late(sign, start_timeout=0.3)], runner=str(runner.socket), runner_key=KEY) as relay:
        assert await relay.names() == []
        assert await _state(relay) == ("failing", "it could not be started")
        assert await Trials(relay.upstreams).find_problem(relay.backends[0]) == "it could not be started"
