"""A worker must not outlive its supervisor, not even one that was killed: it would keep the port and serve old code."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LOOK_SECONDS: Final = 1.0


def end_with_parent(parent: int | None = None) -> None:
    """From now on the parent's death is our SIGTERM: a server drains as on any stop.

    `parent` is its process id, by default that of the process that spawned us; without one nothing happens.
    """
    spawner = multiprocessing.parent_process()
    if parent is None and spawner is not None:
        parent = spawner.pid
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent-watch").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
