"""Ends in the middle of a call, or, with the argument `at-once`, before anybody could say a word."""

import os
import sys
import time

from tests.support.children.speaking import Message, answer, serve


def _crash(_: Message) -> None:
    sys.stderr.write("about to crash with secret-looking words\n")
    sys.stderr.flush()
    time.sleep(0.05)
    os._exit(3)


if __name__ == "__main__":
    if "at-once" in sys.argv:
        sys.exit("cannot start: the configuration is missing")
    serve({"crash": _crash, "ok": lambda request: answer(request, str(os.getpid())), "hang": lambda _: None})
