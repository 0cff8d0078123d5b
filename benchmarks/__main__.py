"""`python -m benchmarks`: starts everything, measures, writes the page. The full form takes about ten minutes."""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.capacity import measure_scaling, measure_sessions, measure_start
from benchmarks.chat.measure import FULL as CHATS_FULL
from benchmarks.chat.measure import PROVIDER, ChatSamples, ChatSubject, measure_chats
from benchmarks.chat.measure import SHORT as CHATS_SHORT
from benchmarks.gateway import NAME, Installation, chatting_gateway, gateway_subject, make_tokens
from benchmarks.measure import FULL, SHORT, run_rounds
from benchmarks.peers.starting import LITELLM, LITELLM_KEY, PASSTHROUGH, Peers
from benchmarks.processes import Cores, free_port, resident_bytes, running, start, wait_for_answer
from benchmarks.report import failures, write_report
from benchmarks.stores import running_stores
from benchmarks.subjects import Subject
from benchmarks.targets import DIRECT, Run

RESULTS: Final = Path(__file__).with_name("results.md")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="under two minutes; fails if a must-target is far missed")
    parser.add_argument("--rounds", type=int, help="rounds over all subjects (default 5, short 3)")
    parser.add_argument("--seconds", type=float, help="of load per subject, scenario and round (default 2, short 1)")
    parser.add_argument("--gateway-python", type=Path, help="a Python with an operator's environment (default: this)")
    parser.add_argument("--fastmcp-python", type=Path, help="a Python that has fastmcp, to measure its proxy as well")
    parser.add_argument("--litellm-python", type=Path, help="a Python that has litellm[proxy], to measure it as well")
    parser.add_argument("--output", type=Path, help=f"where to write the page (default {RESULTS}; short: nowhere)")
    return parser.parse_args()


class Bench:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> None:
        self._short: bool = arguments.short
        self._rounds: int = arguments.rounds or (3 if self._short else 5)
        self._seconds: float = arguments.seconds or (1.0 if self._short else 2.0)
        self._cores = Cores.of_machine()
        self._folder = folder
        self._stack = stack
        os.sched_setaffinity(0, self._cores.rest)
        self._stores = stack.enter_context(running_stores())
        self._backend = self._start_helper("benchmarks.backend")
        self._provider = self._start_helper("benchmarks.chat.provider")
        python = str(arguments.gateway_python or sys.executable)
        self._installation = Installation(
            folder, self._stores, self._backend, self._provider, self._cores.subject, python
        )
        self._peers = Peers(folder, self._backend, self._cores.subject, stack, arguments.fastmcp_python)
        chats = folder / "chats"
        chats.mkdir()
        self._chat_peers = Peers(
            chats, self._provider, self._cores.subject, stack, litellm_python=arguments.litellm_python
        )
        self.absent: list[str] = []
        self.resident: dict[str, int] = {}

    def run(self) -> Run:
        """Start everybody, measure them in turns, then the gateway alone."""
        self._installation.write_config()
        port, pid = self._stack.enter_context(self._installation.running())
        tokens = uvloop.run(make_tokens(self._stores))
        ours = gateway_subject(NAME, port, pid, tokens)
        two_port, two_pid = self._stack.enter_context(self._installation.running(workers=2, cores=self._cores.two))
        two = gateway_subject("two workers", two_port, two_pid, tokens)
        subjects = [Subject(DIRECT, self._backend, None), *self._start_peers(), ours]
        samples = uvloop.run(
            run_rounds(subjects, SHORT if self._short else FULL, rounds=self._rounds, seconds=self._seconds)
        )
        self.resident = {each.name: sum(map(resident_bytes, each.pids())) for each in subjects if each.pid}
        scaling = uvloop.run(measure_scaling(ours, two, rounds=self._rounds, seconds=self._seconds, cores=self._cores))
        with self._installation.running() as (fresh_port, fresh_pid):
            fresh = gateway_subject(NAME, fresh_port, fresh_pid, tokens)
            sessions = uvloop.run(measure_sessions(fresh, count=200 if self._short else 900, streams=50))
        chats = self._chats(chatting_gateway(NAME, port, pid, tokens))
        return Run(samples, measure_start(self._installation, times=1 if self._short else 5), sessions, scaling, chats)

    def _chats(self, ours: ChatSubject) -> ChatSamples:
        peers = {PASSTHROUGH: self._chat_peers.starlette(), "nginx": self._chat_peers.nginx()}
        if not self._short:
            peers[LITELLM] = self._chat_peers.litellm()
        self.absent += [name for name, peer in peers.items() if peer is None and name not in self.absent]
        found = [
            _litellm(peer) if name == LITELLM else ChatSubject(name, peer.port, peer.pid)
            for name, peer in peers.items()
            if peer is not None
        ]
        subjects = [ChatSubject(PROVIDER, self._provider, None), *found, ours]
        amount = CHATS_SHORT if self._short else CHATS_FULL
        return uvloop.run(measure_chats(subjects, self._backend, amount, rounds=self._rounds))

    def _start_peers(self) -> list[Subject]:
        peers = {"nginx": self._peers.nginx()}
        if not self._short:
            peers["Caddy"] = self._peers.caddy()
            peers["fastmcp proxy"] = self._peers.fastmcp()
        self.absent = [name for name, peer in peers.items() if peer is None]
        found = [self._peers.starlette(), *(peer for peer in peers.values() if peer is not None)]
        return found if self._short else [*found, self._peers.sdk()]

    def _start_helper(self, module: str) -> int:
        """A server that everything is measured against, on the cores that are not measured; its port."""
        port, log = free_port(), self._folder / f"{module}.log"
        command = [sys.executable, "-m", module, str(port)]
        process = self._stack.enter_context(running(start(command, self._cores.rest, log)))
        wait_for_answer(process, port, "", log)
        return port

    def how(self) -> str:
        """How this run was made, for the page."""
        cores = self._cores
        return (
            f"{self._rounds} rounds of {self._seconds:g} s per subject and scenario; medians over the rounds. The "
            f"subject runs on core {sorted(cores.subject)}, all else (load generator, backend, PostgreSQL, Redis) "
            f"on {sorted(cores.rest)}. CPU is user and system time of all processes of a subject (of the gateway: "
            "supervisor, worker, runner). The gateway checks tokens, keeps sessions in Redis, counts metrics and "
            "writes audit rows to PostgreSQL; nginx, Caddy and Starlette + aiohttp only pass bytes on."
        )


def _litellm(peer: Subject) -> ChatSubject:
    """A chunk costs it so much more that as many streams as the others have would only queue."""
    return ChatSubject(LITELLM, peer.port, peer.pid, LITELLM_KEY, streams=4)


def main() -> int:
    """Run, write, judge."""
    arguments = read_arguments()
    with tempfile.TemporaryDirectory(prefix="gwbench") as name, contextlib.ExitStack() as stack:
        bench = Bench(arguments, Path(name), stack)
        run = bench.run()
        page = write_report(run, resident=bench.resident, absent=bench.absent, how=bench.how())
    output = arguments.output or (None if arguments.short else RESULTS)
    if output is not None:
        output.write_text(page, "utf-8")
    print(page)
    missed = failures(run)
    for line in missed:
        print(f"missed by more than noise explains: {line}", file=sys.stderr)
    return 1 if missed and arguments.short else 0


if __name__ == "__main__":
    sys.exit(main())
