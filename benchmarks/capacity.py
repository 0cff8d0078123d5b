"""What is measured of the gateway alone: start, idle memory, idle sessions, and two workers against one."""

import asyncio
import os
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks import wire
from benchmarks.gateway import SESSIONS_PER_PERSON, Installation
from benchmarks.load import Connection, connect
from benchmarks.measure import MANY, Scenario, measure
from benchmarks.processes import (
    Cores,
    command_of,
    cpu_seconds,
    free_port,
    pin,
    resident_bytes,
    running,
    tree_of,
    wait_for_answer,
)
from benchmarks.subjects import HOST, Subject

MIB: Final = 1024 * 1024
TWICE: Final = Scenario("JSON, C=128", 128, ("json",))
_SETTLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """Medians over a few starts. `ready` is wall time to the first 200 of /ready; bytes at idle, after one call."""

    ready: float
    cpu: float
    worker: int
    supervisor: int
    runner: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """Growth of the worker in bytes: per 1,000 idle sessions, and per held GET stream."""

    per_thousand: float
    per_stream: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """Two workers at C=128 against one at C=64, so that each has as much under way as the one.

    `balance` is 1 when both did half. `measured` counts only where the load `has_room` beside the workers.
    """

    cpu_ratio: float
    balance: float
    computed: float
    measured: float
    has_room: bool


def workers_of(supervisor: int) -> list[int]:
    """The processes that serve: the supervisor's children of multiprocessing, without its resource tracker."""
    return [pid for pid in tree_of(supervisor)[1:] if "spawn_main" in command_of(pid)]


def measure_start(installation: Installation, *, times: int) -> Start:
    """Start and stop the gateway a few times, on all cores, with its database in place."""
    seen = []
    cores = installation.cores | Cores.of_machine().rest
    for _ in range(times):
        port = free_port()
        clock = asyncio.new_event_loop()
        begun = clock.time()
        with running(installation.start(port, cores=cores)) as process:
            wait_for_answer(process, port, "/ready", installation.log)
            ready = clock.time() - begun
            tree = tree_of(process.pid)
            worker = workers_of(process.pid)[0]
            runner = next((pid for pid in tree if " runner" in command_of(pid)), None)
            runner_bytes = 0 if runner is None else resident_bytes(runner)
            seen.append(
                Start(ready, cpu_seconds(tree), resident_bytes(worker), resident_bytes(process.pid), runner_bytes)
            )
        clock.close()
    return Start(
        ready=median(each.ready for each in seen),
        cpu=median(each.cpu for each in seen),
        worker=int(median(each.worker for each in seen)),
        supervisor=int(median(each.supervisor for each in seen)),
        runner=int(median(each.runner for each in seen)),
    )


async def measure_sessions(subject: Subject, *, count: int, streams: int) -> Sessions:
    """Open sessions that then do nothing, on a warm worker; hold a stream for some of them."""
    assert subject.pid is not None
    worker = workers_of(subject.pid)[0]
    await _open_sessions(subject, 50, first=0)
    await asyncio.sleep(_SETTLE_SECONDS)
    before = resident_bytes(worker)
    opened = await _open_sessions(subject, count, first=SESSIONS_PER_PERSON)
    await asyncio.sleep(_SETTLE_SECONDS)
    per_thousand = (resident_bytes(worker) - before) * 1000 / count
    before = resident_bytes(worker)
    held = [await _hold_stream(subject, opened[number * len(opened) // streams]) for number in range(streams)]
    await asyncio.sleep(_SETTLE_SECONDS)
    per_stream = (resident_bytes(worker) - before) / streams
    for connection in held:
        connection.close()
    return Sessions(per_thousand, per_stream)


async def _open_sessions(subject: Subject, count: int, *, first: int) -> list[tuple[int, str]]:
    """Initialise sessions over a few connections, one tool call in each; their numbers and ids."""
    found: list[tuple[int, str]] = []

    async def open_some(numbers: range) -> None:
        connection = await connect(HOST, subject.port)
        host = f"{HOST}:{subject.port}"
        for number in numbers:
            address = subject.address("json", number)
            answer = await connection.ask(wire.post(host, address.path, wire.initialize(), address.headers))
            session = answer.headers[b"mcp-session-id"].decode()
            headers = (*address.headers, ("mcp-session-id", session))
            await connection.ask(wire.post(host, address.path, wire.INITIALIZED, headers))
            await connection.ask(wire.post(host, address.path, wire.call(address.tool, "once"), headers))
            found.append((number, session))
        connection.close()

    await asyncio.gather(*(open_some(range(first + lane, first + count, 8)) for lane in range(8)))
    return found


async def _hold_stream(subject: Subject, session: tuple[int, str]) -> Connection:
    number, session_id = session
    address = subject.address("json", number)
    connection = await connect(HOST, subject.port)
    headers = (*address.headers, ("mcp-session-id", session_id))
    connection.hold(wire.get(f"{HOST}:{subject.port}", address.path, headers))
    return connection


async def measure_scaling(one: Subject, two: Subject, *, rounds: int, seconds: float, cores: Cores) -> Scaling:
    """Interleave one worker and two workers, which have a core each.

    Where the load has to run on those two cores as well, the calls/s of two workers cannot be seen; what can be seen is
    whether a call costs more CPU with two, and whether both get half of the calls. From these the speed-up is computed.
    """
    assert one.pid is not None
    assert two.pid is not None
    workers = workers_of(two.pid)
    for pid, core in zip(workers, sorted(cores.two), strict=False):
        pin([pid], frozenset({core}))
    load = set(tree_of(os.getpid())) - {*tree_of(one.pid), *tree_of(two.pid)}
    cpu_ratios, balances, rates = [], [], []
    for _ in range(rounds):
        single = await measure(one, MANY, seconds)
        before = [cpu_seconds([pid]) for pid in workers]
        pin(load, cores.rest if cores.has_room_for_two else cores.two)
        double = await measure(two, TWICE, seconds)
        pin(load, cores.rest)
        spent = [cpu_seconds([pid]) - start for pid, start in zip(workers, before, strict=True)]
        cpu_ratios.append(double.cpu_per_call / single.cpu_per_call)
        balances.append(sum(spent) / (len(spent) * max(spent)))
        rates.append(double.rate / single.rate)
    computed = median(2 * balance / ratio for balance, ratio in zip(balances, cpu_ratios, strict=True))
    return Scaling(median(cpu_ratios), median(balances), computed, median(rates), cores.has_room_for_two)
