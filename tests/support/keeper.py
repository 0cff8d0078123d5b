"""Keeps one server process for a test run: `python -m tests.support.keeper OWNER_PID DIRECTORY USER COMMAND…`.

The server ends when the test run does, however that ends, and its directory goes with it. Workers of pytest-xdist can
share it because it belongs to the run and not to the worker that happened to start it.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil


def main(arguments: list[str]) -> int:
    """Start the server, wait for the owner or the server to end, stop what is left."""
    owner, directory, user, *command = arguments
    os.setsid()  # a Ctrl-C in the terminal is the owner's to answer
    with Path(directory, "server.log").open("ab") as log:
        server = subprocess.Popen(
            command,
            cwd=directory,
            user=user or None,
            group=pwd.getpwnam(user).pw_gid if user else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    Path(directory, "server.pid").write_text(str(server.pid), "ascii")
    with contextlib.suppress(psutil.NoSuchProcess):
        run = psutil.Process(int(owner))
        while server.poll() is None and run.is_running() and run.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.5)
    _stop(server)
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown; Redis: shutdown
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(10)
    server.kill()
    server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
