"""The supervisor with real workers of a tiny application, on a clock that the test moves."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from uvicorn.config import Config
from uvicorn.supervisors.multiprocess import SIGNALS

from gateway_proxy.cli.supervisor import Supervisor, start_workers
from tests.support.clock import FakeClock


async def application(scope: Any, receive: Any, send: Any) -> None:
    """What the workers serve."""


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[[str], Supervisor]]:
    """Make a supervisor of one worker; all it started is gone afterwards, and pytest has its signals back."""
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    made: list[Supervisor] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def build(target: str) -> Supervisor:
            config = Config(target, workers=1, lifespan="off", ws="none", log_config=None)
            made.append(Supervisor(config, listener, start_workers(config, listener), None, None, clock))
            return made[-1]

        yield build
    for number, handler in kept.items():
        signal.signal(number, handler)
    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
            child.wait()


def look_until(supervisor: Supervisor, is_so: Callable[[], bool]) -> None:
    """Look after the workers until something is so. No look may wait for a worker."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        started = time.monotonic()
        supervisor.keep_subprocess_alive()
        assert time.monotonic() - started < 2
        time.sleep(0.02)  # nobody sends an event when a process has got somewhere


def serves(supervisor: Supervisor) -> bool:
    """Whether the worker in the first place has said that it serves."""
    return supervisor._hearts[0].is_serving


def pid_of(supervisor: Supervisor) -> int:
    """Its process id."""
    pid = supervisor.processes[0].pid
    assert pid is not None
    return pid


def test_a_worker_that_hangs_is_killed_and_nothing_waits_for_it(
    make: Callable[[str], Supervisor], clock: FakeClock
) -> None:
    """Security F1: a worker that is stopped neither holds up its supervisor nor stays for ever."""
    supervisor = make(f"{__name__}:application")
    look_until(supervisor, lambda: serves(supervisor))
    hung = pid_of(supervisor)
    os.kill(hung, signal.SIGSTOP)
    look_until(supervisor, lambda: psutil.Process(hung).status() == psutil.STATUS_STOPPED)
    supervisor.keep_subprocess_alive()  # takes an answer that was under way
    assert pid_of(supervisor) == hung

    clock.advance(31)
    supervisor.keep_subprocess_alive()

    assert pid_of(supervisor) != hung
    assert not psutil.pid_exists(hung)
    look_until(supervisor, lambda: serves(supervisor))


def test_a_replaced_worker_goes_when_its_successor_serves_and_is_killed_when_it_does_not_go(
    make: Callable[[str], Supervisor], clock: FakeClock
) -> None:
    """Security O3: SIGHUP replaces workers without a gap, and an old one that hangs does not stay."""
    supervisor = make(f"{__name__}:application")
    look_until(supervisor, lambda: serves(supervisor))
    old = pid_of(supervisor)
    supervisor.handle_hup()
    supervisor.keep_subprocess_alive()
    assert pid_of(supervisor) == old  # it serves until the new one does
    os.kill(old, signal.SIGSTOP)

    look_until(supervisor, lambda: pid_of(supervisor) != old)

    assert serves(supervisor)
    assert psutil.pid_exists(old)
    clock.advance(30)
    look_until(supervisor, lambda: not psutil.pid_exists(old))


def test_workers_that_end_before_they_serve_end_the_start(make: Callable[[str], Supervisor]) -> None:
    """Contract, errors: a start that cannot succeed fails instead of going on for ever."""
    supervisor = make("no_such_module:application")

    look_until(supervisor, supervisor.should_exit.is_set)
