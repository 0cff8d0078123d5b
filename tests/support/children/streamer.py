"""Streams a large text as progress, faster than a server of somebody else's may."""

import time

from tests.support.children.speaking import Message, answer, say, serve

PIECES = 120


def _stream(request: Message) -> None:
    token = request["params"]["_meta"]["progressToken"]
    for piece in range(PIECES):
        params = {"progressToken": token, "progress": piece, "message": "x" * 128 * 1024}
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        time.sleep(0.012)
    answer(request, "streamed")


if __name__ == "__main__":
    serve({"stream": _stream})
