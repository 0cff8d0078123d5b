"""Starts processes of its own: one that stays near, one that hides in a session of its own, or very many."""

import json
import os
import subprocess
import sys
import time

from tests.support.children.speaking import Message, answer, serve

_SLEEP = [sys.executable, "-I", "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3600)"]
_HIDE = "import os, subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True).pid)"


def _spawn(request: Message) -> None:
    near = subprocess.Popen(_SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    middle = [sys.executable, "-I", "-S", "-c", _HIDE, *_SLEEP]
    hidden = subprocess.Popen(middle, stdout=subprocess.PIPE, start_new_session=True)
    assert hidden.stdout is not None
    pid = int(hidden.stdout.readline())
    hidden.wait()
    hidden.stdout.close()
    answer(request, json.dumps({"self": os.getpid(), "near": near.pid, "hidden": pid}))


def _bomb(request: Message) -> None:
    for _ in range(request["params"]["arguments"]["processes"]):
        if os.fork() == 0:
            time.sleep(3600)
            os._exit(0)
    answer(request, "spawned")


if __name__ == "__main__":
    serve({"spawn": _spawn, "bomb": _bomb})
