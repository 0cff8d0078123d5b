"""Which child lives, with time moved by hand and real processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from gateway_proxy.runner.children import Children
from gateway_proxy.runner.envelope import read_envelope
from gateway_proxy.runner.errors import BreakerOpen, SessionGone, StartFailed, TenantLimitReached
from gateway_proxy.runner.homes import Homes
from gateway_proxy.runner.instance import Instance
from gateway_proxy.runner.launch import LaunchSpec
from tests.support.clock import FakeClock
from tests.support.runner import ROOT, until_gone


def _spec(script: str = "counter", *arguments: str, **fields: object) -> LaunchSpec:
    values = {"tenant": "acme", "max_per_tenant": 2, "cwd": str(ROOT), **fields}
    module = f"tests.support.children.{script}"
    return LaunchSpec(command=sys.executable, args=["-m", module, *arguments], **values)  # type: ignore[arg-type]


@pytest.fixture
async def children(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Children]:
    """Children of this very process."""
    homes = Homes(tmp_path)
    children = Children(clock=clock, homes=homes, path="/usr/bin:/bin", max_children=4)
    yield children
    await children.close()
    homes.close()


async def _ended(instance: Instance) -> None:
    async with asyncio.timeout(10):
        while not instance.wire.has_ended:
            await asyncio.sleep(0.01)


class HeldUpStart:
    """A start whose keeper does not answer before it is let go."""

    def __init__(self, children: Children, script: str, mark: str) -> None:
        """`mark` is an argument by which the child is known among all processes."""
        self._mark = mark
        self._before = set(psutil.Process().children())
        self.task = asyncio.create_task(children.ensure("a", _spec(script, mark)))

    async def hold_up(self) -> psutil.Process:
        """Stop the keeper as soon as there is one, and let the start come as far as it can without it."""
        async with asyncio.timeout(10):
            while not (found := set(psutil.Process().children()) - self._before):
                await asyncio.sleep(0)
        (keeper,) = found
        keeper.suspend()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not self.task.done()
        return keeper

    async def until_nothing_is_left(self, keeper: psutil.Process) -> None:
        """Wait for the end of the keeper, which outlives its child, and look for the child all the same."""
        await until_gone([keeper.pid])
        assert not [each for each in psutil.process_iter(["cmdline"]) if self._mark in (each.info["cmdline"] or ())]


async def test_a_child_that_nobody_uses_is_ended_after_its_idle_time(children: Children, clock: FakeClock) -> None:
    """relay.md 4: idle reaping, 15 minutes without calls and no open stream."""
    idle, used, watched = [await children.ensure(key, _spec(max_per_tenant=3)) for key in "abc"]
    stream = watched.conversation.open_stream()
    clock.advance(899)
    used.touch()
    await children.tend()
    assert all(instance.is_living for instance in (idle, used, watched))
    clock.advance(1)
    await children.tend()
    assert [instance.is_living for instance in (idle, used, watched)] == [False, True, True]
    watched.conversation.close_stream(stream)
    with pytest.raises(SessionGone):
        children.find("a")


async def test_the_longest_idle_child_makes_way_at_the_tenants_limit(children: Children, clock: FakeClock) -> None:
    """Children of ended sessions must not lock a tenant out for 15 minutes; one in use is never ended for another."""
    first = await children.ensure("a", _spec())
    clock.advance(5)
    second = await children.ensure("b", _spec())
    with pytest.raises(TenantLimitReached):
        await children.ensure("c", _spec())
    clock.advance(7)
    await children.ensure("c", _spec())
    assert (first.is_living, second.is_living) == (False, True)


async def test_a_child_that_fails_again_and_again_is_left_alone_and_tried_again_later(
    children: Children, clock: FakeClock
) -> None:
    """security.md P5: 5 failures → open 30 s, then half-open."""
    spec = _spec("crasher", "at-once")
    for _ in range(5):
        clock.advance(2)
        try:
            await _ended(await children.ensure("a", spec))
        except StartFailed:
            continue
    with pytest.raises(BreakerOpen):
        await children.ensure("a", spec)
    clock.advance(30)
    await _ended(await children.ensure("a", spec))
    with pytest.raises(BreakerOpen):
        await children.ensure("a", spec)
    assert (await children.ensure("b", _spec())).is_living


async def test_what_ended_long_ago_is_forgotten(children: Children, clock: FakeClock) -> None:
    """Nothing grows for ever."""
    instance = await children.ensure("a", _spec())
    await instance.stop()
    assert [row["state"] for row in children.describe()] == ["ended"]
    clock.advance(601)
    await children.tend()
    assert children.describe() == []


async def test_closing_ends_children_that_are_just_being_started(children: Children, tmp_path: Path) -> None:
    """A start that overlaps with the end must not leave a process."""
    start = HeldUpStart(children, "counter", str(tmp_path))
    keeper = await start.hold_up()
    await children.close()
    keeper.resume()
    with pytest.raises(StartFailed):
        await start.task
    await start.until_nothing_is_left(keeper)


async def test_a_cancelled_start_leaves_no_process(children: Children, tmp_path: Path) -> None:
    """The gateway gave up waiting."""
    start = HeldUpStart(children, "stubborn", str(tmp_path))
    keeper = await start.hold_up()
    start.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start.task
    keeper.resume()
    await start.until_nothing_is_left(keeper)


async def test_a_child_whose_pipe_is_gone_before_its_handshake_has_not_started(children: Children) -> None:
    """Seam: 502 start_failed. An error of JSON-RPC would read as if the child had answered."""
    script = "import os, sys, time; os.close(0); print('closed', file=sys.stderr, flush=True); time.sleep(60)"
    spec = LaunchSpec(tenant="acme", command=sys.executable, args=["-c", script])
    instance = await children.ensure("a", spec)
    async with asyncio.timeout(10):
        while not instance.wire.log:
            await asyncio.sleep(0.01)
    with pytest.raises(StartFailed):
        await instance.initialize(read_envelope(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'))


async def test_the_status_shows_no_secret(children: Children) -> None:
    """Environment, arguments and headers may hold credentials."""
    await children.ensure("a", _spec("counter", "argument-secret", env={"TOKEN": "environment-secret"}))
    assert "secret" not in str(children.describe())
    assert "secret" not in repr(_spec("counter", "argument-secret", env={"TOKEN": "environment-secret"}))
