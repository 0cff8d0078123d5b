"""Processes of the run: pinned to cores, and their CPU time and memory from /proc. Linux only."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores belong to what is measured, and which to everything else (load, backend, PostgreSQL, Redis)."""

    subject: frozenset[int]
    two: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def of_machine(cls) -> "Cores":
        """One core for the subject. The row of two workers has a core for each, which it shares below four cores."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= 4:
            return cls(frozenset(cores[:1]), frozenset(cores[:2]), frozenset(cores[2:]))
        return cls(frozenset(cores[:1]), frozenset(cores[:2]), frozenset(cores[1:] or cores))

    @property
    def has_room_for_two(self) -> bool:
        """Whether two workers have a core each that the load does not use."""
        return len(self.two) == 2 and not self.two & self.rest


def pin(pids: Iterable[int], cores: frozenset[int]) -> None:
    """Let running processes, all their threads, use these cores only."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(
    command: Sequence[str], cores: frozenset[int], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program on these cores only."""
    pinned = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
    with log.open("ab") as output:
        return subprocess.Popen(pinned, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


@contextlib.contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Stop the process at the end, kindly at first."""
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL after a while."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for_answer(
    process: subprocess.Popen[bytes], port: int, path: str, log: Path, *, seconds: float = START_SECONDS
) -> None:
    """Return at the first HTTP answer of 200 to a GET; of any status when `path` is empty.

    Raises:
        RuntimeError: The process ended, or took too long; with the end of its log.
    """
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(
                f"GET {path or '/'} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode()
            )
            head = client.recv(64)
            if head.startswith(b"HTTP/1.1 200" if path else b"HTTP/1.1 "):
                return
        time.sleep(0.005)
    raise RuntimeError(f"{process.args!r} does not answer: {log.read_text('utf-8', 'replace')[-2000:]}")


def tree_of(pid: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time so far of these processes; of those that are gone, nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_bytes(pid: int) -> int:
    """The resident set of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def command_of(pid: int) -> str:
    """Its command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat from `state` on."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
