"""Works on several calls at once and answers them out of order, with progress; remembers what was cancelled."""

import time

from tests.support.children.speaking import Message, answer, progress, say, serve

_cancelled: list[object] = []


def _work(request: Message) -> None:
    arguments = request["params"]["arguments"]
    for step in range(arguments.get("steps", 0)):
        progress(request, arguments["text_number"] + step)
        time.sleep(arguments.get("pause", 0.001))
    answer(request, arguments["text"], echoed=arguments)


def _wait(request: Message) -> None:
    progress(request, 0)
    while request["id"] not in _cancelled:
        time.sleep(0.01)


def _hear(message: Message) -> None:
    if message.get("method") == "notifications/cancelled":
        _cancelled.append(message["params"]["requestId"])


def _announce(request: Message) -> None:
    say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "working"}})
    answer(request, "announced")


if __name__ == "__main__":
    serve(
        {
            "work": _work,
            "wait": _wait,
            "announce": _announce,
            "cancelled": lambda request: answer(request, str(len(_cancelled))),
        },
        on_other=_hear,
        threads=True,
    )
