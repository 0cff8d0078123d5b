"""Deaths at the worst moment: what is left running, and how soon it is whole again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Bootstrapped]:
    async with bootstrapped_gateway() as running:
        yield running


def _workers(gateway: Bootstrapped) -> list[int]:
    assert gateway.process.process is not None
    found = []
    for child in psutil.Process(gateway.process.process.pid).children():
        try:
            command = " ".join(child.cmdline())
        except psutil.Error:  # it is just ending
            continue
        if "spawn_main" in command:
            found.append(child.pid)
    return found


async def test_a_worker_that_dies_while_the_supervisor_waits_for_its_answer_is_replaced_at_once(
    gateway: Bootstrapped,
) -> None:
    """Security F1: within seconds, and not when the health check has waited its thirty."""
    (worker,) = _workers(gateway)
    os.kill(worker, signal.SIGSTOP)
    await asyncio.sleep(2.5)  # asked twice a second: by now the supervisor waits for an answer
    os.kill(worker, signal.SIGKILL)
    died = time.monotonic()
    async with asyncio.timeout(20):
        while not [pid for pid in _workers(gateway) if pid != worker]:
            await asyncio.sleep(0.05)
    assert time.monotonic() - died < 5
    await gateway.process.wait_until_ready()
