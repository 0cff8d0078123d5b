"""A provider that costs next to nothing: an OpenAI-compatible server over bare asyncio, paced like a model.

Run as `python -m benchmarks.chat.provider PORT`. A request whose last message is "tool" gets one tool call first.
"""

import asyncio
import json
import sys

import uvloop

CHUNK = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def frame(delta: dict[str, object], finish: str | None = None) -> bytes:
    """One chunk in HTTP chunked framing."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return chunked(b"data: " + json.dumps({**CHUNK, "choices": [choice]}).encode() + b"\n\n")


def chunked(data: bytes) -> bytes:
    """HTTP chunked framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)


FIRST = frame({"role": "assistant", "content": ""})
WORDS = [frame({"content": f" word{number}"}) for number in range(16)]  # LiteLLM ends a model that repeats itself
LAST = frame({}, "stop") + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
# nginx passes the events on at once because of the last header
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-accel-buffering: no\r\n\r\n"
)
OTHER = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def call(name: str) -> bytes:
    """A turn that calls one tool."""
    function = {"name": name, "arguments": '{"text":"hi"}'}
    tool_call = {"index": 0, "id": "call_a1b2c3d4e5", "type": "function", "function": function}
    return frame({"role": "assistant", "tool_calls": [tool_call]}) + frame({}, "tool_calls") + LAST


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection. The request says how many words, and how many milliseconds lie between them."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            body = json.loads(await reader.readexactly(length) or b"{}")
            if "messages" not in body:
                writer.write(OTHER)
                continue
            writer.write(HEAD)
            last = body["messages"][-1]
            if last["content"] == "tool":
                writer.write(call(body["tools"][0]["function"]["name"]))
                continue
            writer.write(FIRST)
            words, pause = int(body.get("seed") or 1), float(body.get("top_p") or 0) / 1000
            for number in range(words):
                writer.write(WORDS[number % len(WORDS)])
                await asyncio.sleep(pause)
            writer.write(LAST)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
