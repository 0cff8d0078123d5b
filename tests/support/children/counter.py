"""Counts its calls, and tells what it was started with."""

import json
import os
import resource
import sys
from itertools import count
from pathlib import Path

from tests.support.children.speaking import Message, answer, serve

_numbers = count(1)


def _tell(request: Message) -> None:
    told = {
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "argv": sys.argv[1:],
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "pid": os.getpid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "no_new_privs": "NoNewPrivs:\t1" in Path("/proc/self/status").read_text("ascii"),
    }
    answer(request, json.dumps(told))


if __name__ == "__main__":
    serve({"count": lambda request: answer(request, str(next(_numbers))), "tell": _tell})
