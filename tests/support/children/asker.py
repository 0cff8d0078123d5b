"""Asks its client: elicitation and sampling requests in the middle of a call, and pings."""

import json
import threading
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.children.speaking import Message, answer, progress, say, serve

_numbers = count(1)
_waiting: dict[object, threading.Event] = {}
_answers: dict[object, Message] = {}


def _ask(method: str, params: dict[str, Any]) -> Message:
    number = next(_numbers)
    _waiting[number] = threading.Event()
    say({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    _waiting[number].wait(30)
    return _answers.pop(number, {"error": {"message": "no answer"}})


def _elicit(request: Message) -> None:
    arguments = request["params"]["arguments"]
    if "mark" in arguments:  # a side effect, for tests that count how often a call was really made
        with Path(arguments["mark"]).open("a") as marks:
            marks.write("made\n")
    progress(request, 1)
    told = _ask("elicitation/create", {"message": arguments["question"], "requestedSchema": {"type": "object"}})
    answer(request, json.dumps({"question": arguments["question"], "told": told}))


def _ping(request: Message) -> None:
    answer(request, json.dumps(_ask("ping", {})))


def _hear(message: Message) -> None:
    if "id" in message and "method" not in message and message["id"] in _waiting:
        _answers[message["id"]] = message
        _waiting[message["id"]].set()


if __name__ == "__main__":
    serve({"elicit": _elicit, "ping": _ping}, on_other=_hear, threads=True)
