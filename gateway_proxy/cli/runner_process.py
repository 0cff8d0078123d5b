"""The runner as a child of `serve`: started, watched, restarted with back-off, stopped last.

It gets a generated key and an environment of its own, without the gateway's secrets. It runs in a session of its own,
so that Ctrl-C in a terminal reaches the supervisor only and the order of stopping holds.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from gateway_proxy.domain.clock import Clock
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_GOOD_LIFE: Final = 60.0  # a runner that lived this long starts the back-off anew
_LONGEST_PATH: Final = 100  # of a unix socket, with room to spare below the system's 107
_KEPT_NAMES: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


class RunnerProcess:
    """One runner. All methods are called from the supervisor's main thread: its death is what ends the runner."""

    def __init__(self, *, data_dir: Path, port: int, environ: Mapping[str, str], log_level: str, clock: Clock) -> None:
        """Choose the socket and the key; nothing is started yet. `port` tells gateways on one data directory apart."""
        self._socket, self._folder = _socket_path(data_dir, port)
        self._key = secrets.token_urlsafe(32)
        self._environment = {name: environ[name] for name in _KEPT_NAMES if name in environ} | {
            "GATEWAY_RUNNER_KEY": self._key,
            "GATEWAY_LOG_LEVEL": log_level,
            "GATEWAY_DATA_DIR": str(data_dir / "runner"),  # its own: the gateway's holds the keys
        }
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = _FIRST_PAUSE
        self._next_start: float | None = None

    @property
    def address(self) -> Mapping[str, str]:
        """What the workers have to know, as settings."""
        return {"GATEWAY_RUNNER_URL": f"unix:{self._socket}", "GATEWAY_RUNNER_KEY": self._key}

    def start(self) -> None:
        """Start it; it does not listen yet."""
        self._spawn()

    def wait(self) -> None:
        """Wait until it listens.

        Raises:
            click.ClickException: It ended, or did not listen in time.
        """
        deadline = self._started_at + START_SECONDS
        while not self._listens():
            if self._process is None or self._process.poll() is not None:
                raise click.ClickException("the runner ended while it was starting; its messages stand above")
            if self._clock.monotonic() > deadline:
                self.stop()
                raise click.ClickException(f"the runner did not listen within {START_SECONDS:g} s")
            time.sleep(0.01)

    def keep_alive(self) -> None:
        """Start it again when it died: at first soon, then with pauses that double up to half a minute."""
        if self._process is None:
            return
        now = self._clock.monotonic()
        if self._next_start is None:
            status = self._process.poll()
            if status is None:
                return
            if now - self._started_at > _GOOD_LIFE:
                self._pause = _FIRST_PAUSE
            log.error("runner_died", status=status, restart_in=self._pause)
            self._next_start = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if now >= self._next_start:
            self._next_start = None
            self._spawn()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; gone when this returns, and its children with it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("runner_killed", after=STOP_SECONDS)
            process.kill()
            process.wait()
        self._socket.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.rmdir()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "gateway_proxy", "runner", "--listen", f"unix:{self._socket}"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [*command, "--end-with-parent"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started_at = self._clock.monotonic()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
            return True


def _socket_path(data_dir: Path, port: int) -> tuple[Path, Path | None]:
    """Under the data directory, which only this user may enter; when that path is too long, in a folder of its own."""
    path = data_dir / f"runner-{port}.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path, None
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    return folder / "runner.sock", folder
