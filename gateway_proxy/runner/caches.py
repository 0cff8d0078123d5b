"""What children download and find again at their next start: a folder per backend definition, kept between its lives.

A definition is its tenant, its name and its command with the arguments: what one server left behind is never run by
another, nor by its own successor under the same name. All children run as one user, so this keeps servers out of each
other's way and not a hostile program in its place; who needs that runs a runner per tenant.

Whether a folder is in use is told by a shared lock on a file in it, which the kernel drops with its holder, so that
several children and several runners can use one. Only what is locked by nobody is removed, moved aside first. Nothing
is followed here: a folder is a directory of this user, or it is left alone.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from gateway_proxy.runner.launch import LaunchSpec
from gateway_proxy.telemetry.logs import get_log

KEPT_SECONDS: Final = 30 * 86400.0
MOST_OF_ONE: Final = 2 * 1024**3
MOST_OF_ALL: Final = 8 * 1024**3
_FOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {"npm_config_cache": "npm", "UV_CACHE_DIR": "uv", "XDG_CACHE_HOME": "xdg"}
)
_LOCK: Final = "lock"
_GONE: Final = ".gone-"
_TRIES: Final = 100
_PAUSE: Final = 0.05

_log = get_log(__name__)


class Cache:
    """One child's use of a folder. `environment` tells package runners of it; `close` ends the use."""

    def __init__(self, caches: "Caches", name: str, folder: Path, lock: int) -> None:
        self.environment = {variable: str(folder / part) for variable, part in _FOLDERS.items()}
        self._caches = caches
        self._name = name
        self._lock: int | None = lock

    def close(self) -> None:
        """The child has ended. Blocking when the folder is to go with it; may be called twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self._caches.leave(self._name, lock)


class Caches:
    """All folders under `root`, which is made if need be. Methods block: call them in a thread."""

    def __init__(
        self, root: Path, *, clock: Clock, most_of_one: int = MOST_OF_ONE, most_of_all: int = MOST_OF_ALL
    ) -> None:
        """Sizes are bytes.

        Raises:
            OSError: `root` cannot be made, or is something else than a directory of this user.
        """
        root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_own(root)
        root.chmod(0o700)
        self._root = root
        self._clock = clock
        self._most_of_one = most_of_one
        self._most_of_all = most_of_all
        self._forgotten: set[str] = set()

    def open(self, spec: LaunchSpec) -> Cache | None:
        """The folder for a child that is about to start; None when it cannot be used, and then it starts without."""
        name = _name_of(spec)
        self._forgotten.discard(name)
        for _ in range(_TRIES):
            try:
                lock = self._enter(name)
            except OSError as error:
                _log.warning("runner.cache_unusable", label=spec.label, tenant=spec.tenant, reason=error.strerror)
                return None
            if lock is not None:
                return Cache(self, name, self._root / name, lock)
            time.sleep(_PAUSE)
        _log.warning("runner.cache_unusable", label=spec.label, tenant=spec.tenant, reason="it is locked")
        return None

    def leave(self, name: str, lock: int) -> None:
        """A use has ended."""
        with contextlib.suppress(OSError):
            self._stamp(lock)
        os.close(lock)
        if name in self._forgotten and self._drop(name):
            self._forgotten.discard(name)

    def forget(self, tenant: str, label: str) -> None:
        """There is no such definition any more: remove what was kept for it, once nobody uses it."""
        prefix = _prefix_of(tenant, label)
        for name in [folder.name for folder in self._folders() if folder.name.startswith(prefix)]:
            if not self._drop(name):
                self._forgotten.add(name)

    def tidy(self) -> None:
        """Remove what was not used for long, what is too large, and of the rest the longest unused over the limit."""
        for left in self._root.glob(f"{_GONE}*"):
            _remove(left)
        now = self._clock.now().timestamp()
        by_age = sorted((_last_used(folder), folder) for folder in self._folders())
        kept: list[tuple[Path, int]] = []
        for used_at, folder in by_age:
            size = measure(folder, self._most_of_one)
            if (now - used_at > KEPT_SECONDS or size > self._most_of_one) and self._drop(folder.name):
                continue
            kept.append((folder, size))
        total = sum(size for _, size in kept)
        for folder, size in kept:
            if total <= self._most_of_all:
                return
            if self._drop(folder.name):
                total -= size

    def _enter(self, name: str) -> int | None:
        """Lock a folder for use; None when it is being measured or removed at this moment, and is to be tried again."""
        folder = self._root / name
        with contextlib.ExitStack() as stack:
            try:
                _make_own(folder)
                lock = _open_lock(folder)
                stack.callback(os.close, lock)
                if _lock_alone(lock) and measure(folder, self._most_of_one) > self._most_of_one:
                    self._remove_locked(folder)
                    return None
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if not _is_at(lock, folder / _LOCK):
                    return None
                self._stamp(lock)
                for part in _FOLDERS.values():
                    _make_own(folder / part)
            except (FileNotFoundError, BlockingIOError):
                return None
            stack.pop_all()
            return lock

    def _drop(self, name: str) -> bool:
        """Remove a folder that nobody uses; False when somebody does, or it is not to be touched."""
        folder = self._root / name
        try:
            lock = _open_lock(folder)
        except OSError:
            return False
        try:
            if not _lock_alone(lock) or not _is_at(lock, folder / _LOCK):
                return False
            self._remove_locked(folder)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def _remove_locked(self, folder: Path) -> None:
        aside = self._root / f"{_GONE}{new_id()}"
        folder.rename(aside)
        _log.info("runner.cache_removed", folder=folder.name)
        _remove(aside)

    def _folders(self) -> Iterator[Path]:
        """What is ours under the root; nothing that somebody put there in its place."""
        with contextlib.suppress(OSError):
            for entry in sorted(self._root.iterdir()):
                if not entry.name.startswith(".") and _is_own(entry):
                    yield entry

    def _stamp(self, lock: int) -> None:
        now = self._clock.now().timestamp()
        os.utime(lock, (now, now))


def measure(folder: Path, limit: int) -> int:
    """Bytes on the disk under a folder, hard links once, or something over `limit` as soon as it is more."""
    total, seen, waiting = 0, set[tuple[int, int]](), [str(folder)]
    while waiting and total <= limit:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(entry.path)
                elif found.st_nlink > 1:
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                total += 512 * (1 + found.st_blocks)
    return total


def _name_of(spec: LaunchSpec) -> str:
    return _prefix_of(spec.tenant, spec.label) + _digest([spec.command, *spec.args])


def _prefix_of(tenant: str, label: str) -> str:
    return f"{_digest([tenant, label])}-"


def _digest(parts: list[str | None]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _is_own(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _make_own(path: Path) -> None:
    """Make a directory, or find one of our own.

    Raises:
        OSError: It cannot be made, or something else is there.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not _is_own(path):
        raise OSError(errno.ENOTDIR, "something else than a directory of this user is there")


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _lock_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    """Whether the file that we hold is still the one at that place, and the place ours."""
    try:
        return _is_own(path.parent) and os.path.samestat(os.fstat(lock), path.lstat())
    except OSError:
        return False


def _last_used(folder: Path) -> float:
    try:
        return (folder / _LOCK).lstat().st_mtime
    except OSError:
        return 0.0


def _remove(folder: Path) -> None:
    """Remove a folder with all in it, also what a program made read-only."""
    if not _is_own(folder):
        return
    waiting = [folder]
    while waiting:
        each = waiting.pop()
        with contextlib.suppress(OSError):
            each.chmod(0o700)
            waiting += [Path(entry.path) for entry in os.scandir(each) if entry.is_dir(follow_symlinks=False)]
    shutil.rmtree(folder, ignore_errors=True)
