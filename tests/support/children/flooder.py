"""Writes far more than anybody reads: notifications, garbage, stderr, progress, or one endless line."""

import os
import sys

from tests.support.children.speaking import Message, answer, progress, serve

_LOG = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%s"}}\n' % (b"x" * 4000)


def _write(fd: int, block: bytes, megabytes: int) -> None:
    data = block * (1 + 1_000_000 // len(block))
    written = 0
    while written < megabytes * 1_000_000:
        written += os.write(fd, data)


def _flood(request: Message) -> None:
    arguments = request["params"]["arguments"]
    megabytes = arguments["megabytes"]
    match arguments["what"]:
        case "notifications":
            _write(1, _LOG, megabytes)
        case "garbage":
            _write(1, b"this is no JSON at all\n", megabytes)
        case "stderr":
            _write(2, b"e" * 5000 + b"\n", megabytes)
        case "line":
            _write(1, b"z" * 1000, megabytes)
            sys.stdout.write("\n")
        case "progress":
            for step in range(megabytes * 10_000):
                progress(request, step)
    answer(request, "flooded")


if __name__ == "__main__":
    serve({"flood": _flood, "ok": lambda request: answer(request, "ok")})
