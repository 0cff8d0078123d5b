"""Ignores SIGTERM, SIGINT, SIGHUP and the end of its stdin."""

import signal
import time

from tests.support.children.speaking import answer, serve

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve({"ok": lambda request: answer(request, "ok")})
    time.sleep(3600)
