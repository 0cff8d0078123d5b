"""Answers with a line of any size; `order` says where in the object its id stands."""

import sys

from tests.support.children.speaking import Message, answer, serve


def _grow(request: Message) -> None:
    arguments = request["params"]["arguments"]
    text = "x" * arguments["bytes"]
    result = f'"result":{{"content":[{{"type":"text","text":"{text}"}}]}}'
    match arguments["order"]:
        case "first":
            line = f'{{"jsonrpc":"2.0","id":{request["id"]},{result}}}'
        case "last":
            line = f'{{{result},"jsonrpc":"2.0","id":{request["id"]}}}'
        case _:
            line = f'{{{result},"id":{request["id"]},"extra":{{"a":"{"y" * 5000}"}}}}'
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve({"grow": _grow, "ok": lambda request: answer(request, "ok")})
