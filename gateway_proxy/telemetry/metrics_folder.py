"""The folder in which several workers keep their counts, each in files of its own, so that a page can add them up.

It lives as long as the supervisor that made it. What a dead worker counted is moved into one file for all the dead:
counters never go back, and a worker that dies every minute leaves no pile of files. What it held is held by nobody any
more and goes with it. No metric is named here.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from prometheus_client.mmap_dict import MmapedDict

from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

ENVIRONMENT_NAME: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus-client when it is imported, which is why it has to be set before a worker starts."""

_PREFIX: Final = "metrics-"
_OWNER: Final = "owner"
_TURN: Final = "turn"
_GONE: Final = "gone"
_HELD: Final = "gauge_live"
"""How the library names files of gauges that count for living processes only."""


class MetricsFolder:
    """Made and removed by the supervisor; the workers are told its path."""

    def __init__(self, parent: Path) -> None:
        """Make an empty folder below `parent`, and remove those of supervisors that were killed.

        The owner's lock is taken under a name that nobody looks at, so that no other start takes it for abandoned.
        """
        _remove_abandoned(parent)
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        self._owner = _locked(made / _OWNER, fcntl.LOCK_EX)
        self.path = made.rename(parent / made.name.removeprefix("."))

    def gather(self, living: Collection[int]) -> None:
        """Add what dead workers counted to the file of the dead. `living` are the process ids of all workers."""
        dead = [path for path in self.path.glob("*.db") if _is_of_the_dead(path, living)]
        if not dead:
            return
        try:
            with contextlib.closing(_locked(self.path / _TURN, fcntl.LOCK_EX)):
                for path in dead:
                    counts = {} if path.name.startswith(_HELD) else _read(path)
                    path.unlink()  # first: counts that are lost with a full disk are better than counts twice
                    if counts:
                        _add(counts, self.path / f"{path.name.rpartition('_')[0]}_{_GONE}.db")
        except OSError as error:
            log.warning("metrics_of_a_dead_worker_lost", fault=type(error).__name__)

    def remove(self) -> None:
        """The workers have ended: nobody needs the counts any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._owner.close()


@contextlib.contextmanager
def held_still(path: Path) -> Iterator[None]:
    """While this lasts nothing is moved between files, so that nothing is counted twice or not at all."""
    with contextlib.closing(_locked(path / _TURN, fcntl.LOCK_SH)):
        yield


def _locked(path: Path, how: int) -> IO[bytes]:
    """A lock that ends when the file is closed, or with the process, however that ends."""
    file = path.open("ab")
    try:
        fcntl.flock(file, how)
    except OSError:
        file.close()
        raise
    return file


def _is_of_the_dead(path: Path, living: Collection[int]) -> bool:
    number = path.stem.rpartition("_")[2]
    return number.isdigit() and int(number) not in living


def _read(path: Path) -> dict[str, float]:
    """The counts in a file; none when its worker was killed before the file had a beginning."""
    try:
        entries = MmapedDict.read_all_values_from_file(os.fspath(path))  # type: ignore[no-untyped-call] # of the library
        return {key: value for key, value, *_ in entries}
    except (RuntimeError, struct.error, UnicodeDecodeError):
        return {}


def _add(counts: Mapping[str, float], target: Path) -> None:
    """Every value of ours is a sum (counters, and histograms bucket by bucket), so two files add up key by key."""
    sums = MmapedDict(os.fspath(target))  # type: ignore[no-untyped-call]
    try:
        for key, value in counts.items():
            so_far, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
            sums.write_value(key, so_far + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        sums.close()  # type: ignore[no-untyped-call]


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        if not (folder / _OWNER).is_file():
            continue
        try:
            owner = _locked(folder / _OWNER, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its supervisor lives
            continue
        shutil.rmtree(folder, ignore_errors=True)
        owner.close()
