"""Talks around its answers: banners, blank lines, half JSON, answers to nobody, foreign progress, another encoding."""

import json
import sys

from tests.support.children.speaking import Message, answer, say, serve


def _babble(request: Message) -> None:
    sys.stdout.write('Starting up...\n\n   \n{"jsonrpc": \n[1, 2]\n"text"\n{"jsonrpc":"1.0","id":1,"result":{}}\n')
    say({"jsonrpc": "2.0", "id": 987654, "result": {"content": []}})
    say({"jsonrpc": "2.0", "id": "nobody", "result": {}})
    say({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}})
    params = {"progressToken": 987654, "progress": 1}
    say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    say({"jsonrpc": "2.0", "method": "notifications/progress", "params": [1]})
    answer(request, "done")


def _speak(request: Message) -> None:
    """Echo the text, in the encoding given as the first argument, with one broken byte if asked for."""
    text = request["params"]["arguments"]["text"]
    message = {"jsonrpc": "2.0", "id": request["id"], "result": {"content": [{"type": "text", "text": text}]}}
    line = json.dumps(message, ensure_ascii=False).encode(sys.argv[1])
    if request["params"]["arguments"].get("broken"):
        line = line.replace(b"!", b"\xff")
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdin.reconfigure(encoding=sys.argv[1])  # type: ignore[union-attr]
    serve({"babble": _babble, "speak": _speak})
