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


def end_with_parent() -> None:
    """From now on the parent's death is our SIGTERM: the server drains as on any stop. For spawned processes only."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent.pid:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True, name="parent-watch").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
