"""Private home directories of children: made fresh, readable by nobody else, gone with the child.

A runner that was killed leaves its directory behind; the next one on the same host removes it. Whether the owner
still lives is told by a lock that the kernel drops with it, not by a process id.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "gateway-runner-"
_LOCK: Final = "lock"


class Homes:
    """The directory of this runner, with one home per instance of a child in it."""

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or Path(tempfile.gettempdir())
        _sweep(base)
        self._root, self._lock = _make_root(base)

    def open_home(self, name: str) -> str:
        """A new home."""
        home = self._root / name
        home.mkdir(mode=0o700)
        return str(home)

    def remove_home(self, name: str) -> None:
        """Remove a home and all in it. Slow when it is large: call it in a thread."""
        shutil.rmtree(self._root / name, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._root, ignore_errors=True)
        os.close(self._lock)


def _make_root(base: Path) -> tuple[Path, int]:
    """A directory of our own and its lock. Another runner's sweep may come between making and locking: try again."""
    while True:
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / _LOCK).exists():
            return root, lock
        os.close(lock)


def _sweep(base: Path) -> None:
    """Remove what killed runners of this user left behind."""
    for root in base.glob(f"{_PREFIX}*"):
        try:
            if root.is_symlink() or root.stat().st_uid != os.getuid():
                continue
            lock = os.open(root / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)
