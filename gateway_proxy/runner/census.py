"""Counts the processes and the memory of each child's tree, and finds strays. Reads /proc; without one it sees nothing.

A stray is a process that the runner adopted (it is a child subreaper, see `main`): its keeper was killed. It belongs
to nobody any more and is killed.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class TreeSize:
    """The processes below one keeper and their resident bytes."""

    processes: int = 0
    resident_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Census:
    """What was found: the tree of each keeper, and the strays."""

    trees: Mapping[int, TreeSize]
    strays: tuple[int, ...]


def take_census(runner: int, keepers: Collection[int]) -> Census:
    """Walk /proc once. Slow with many processes (about 20 µs each): call it in a thread."""
    children, resident = _read_processes()
    trees = {}
    for keeper in keepers:
        members = _below(keeper, children)
        trees[keeper] = TreeSize(len(members), sum(resident[pid] for pid in members))
    strays = tuple(pid for pid in children.get(runner, ()) if pid not in keepers)
    return Census(trees, strays)


def kill_stray(pid: int) -> None:
    """End a process that we adopted, and reap it. It is our own child: its id cannot have been given to a stranger."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)


def _below(root: int, children: Mapping[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, ()))
    return found


def _read_processes() -> tuple[dict[int, list[int]], dict[int, int]]:
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    names = os.listdir("/proc") if os.path.isdir("/proc") else []
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        pid = int(name)
        children.setdefault(int(fields[1]), []).append(pid)
        resident[pid] = int(fields[21]) * _PAGE
    return children, resident
