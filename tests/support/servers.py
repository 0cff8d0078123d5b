"""Starting a server once per test run, whoever of the run's processes needs it first."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of pytest: the process that it lives and dies with, a directory and a name that all its workers share."""

    __test__ = False

    owner: int
    directory: str
    worker: str = "main"

    @property
    def worker_number(self) -> int:
        """0 without pytest-xdist, else 1 and up."""
        digits = "".join(character for character in self.worker if character.isdigit())
        return int(digits) + 1 if digits else 0


def find_package_file(package: str, pattern: str) -> Path:
    """The newest match of `pattern` inside an installed package, which is not imported for it."""
    spec = find_spec(package)
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec is not None else []
    found = sorted(match for place in places for match in place.glob(pattern))
    if not found:
        pytest.fail(f"{package} with {pattern} is not installed: run scripts/test, which installs it", pytrace=False)
    return found[-1]


def start_once(run: TestRun, name: str, start: Callable[[], str]) -> str:
    """Call `start` in the first process of the run that gets here; everyone gets what it returned (a URL)."""
    note = Path(run.directory, name)
    with Path(run.directory, f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(start(), "utf-8")
        return note.read_text("utf-8")


def make_server_directory(prefix: str) -> Path:
    """A short path, because the path of a unix socket may not be longer than about 100 bytes."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if Path("/tmp").is_dir() else None))


def keep_server(run: TestRun, directory: Path, command: Sequence[str], *, user: str = "") -> None:
    """Start `command` under a keeper that ends it together with the run."""
    keeper = [sys.executable, "-m", "tests.support.keeper", str(run.owner), str(directory), user, *command]
    subprocess.Popen(
        keeper,
        cwd=Path(__file__).parent.parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ).returncode = 0  # its end is not ours to wait for


def wait_until_ready(name: str, directory: Path, is_ready: Callable[[], bool]) -> None:
    """Wait for a server of ours to answer; fail with the end of its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            log = directory / "server.log"
            tail = log.read_text("utf-8", "replace")[-500:] if log.exists() else "no log"
            pytest.fail(f"{name} did not start within {START_SECONDS:.0f} s: {tail}", pytrace=False)
        time.sleep(0.05)
