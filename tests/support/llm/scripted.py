"""LLM APIs that say what a test tells them to, on a real socket, in the framing that the recorded ones use."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

JSONObject = dict[str, Any]


@dataclass
class Said:
    """One answer of a model: text, thinking, calls `(id, name, arguments)`, and how it ends."""

    text: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str, str, str]] = ()
    reason: str | None = None
    usage: tuple[int, int] = (10, 5)
    wait: asyncio.Event | None = None
    """Set: the model says nothing behind its first words until the event is set."""


@dataclass
class Raw:
    """An answer as the test wrote it: `events` are the data of a stream, `body` is a whole answer."""

    events: Sequence[str | JSONObject] = ()
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Said | Raw


@dataclass
class Scripted:
    """What both APIs share: the script, what was received, and streams that were closed early."""

    script: list[Script] = field(default_factory=list)
    requests: list[JSONObject] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed_early: asyncio.Event = field(default_factory=asyncio.Event)
    cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> Response:
        """Take the next line of the script."""
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.url.path)
        line = self.script.pop(0) if self.script else Said("(the script is over)")
        if isinstance(line, Raw):
            if line.body is not None:
                if isinstance(line.body, bytes):
                    return Response(line.body, line.status, dict(line.headers))
                return JSONResponse(line.body, line.status, dict(line.headers))
            events = [event if isinstance(event, str) else msgspec.json.encode(event).decode() for event in line.events]
            frames = [f"data: {event}\n\n" for event in events]
            return StreamingResponse(self._send(frames, None), media_type="text/event-stream")
        if body.get("stream"):
            return StreamingResponse(self._send(self.stream_of(line, body), line.wait), media_type="text/event-stream")
        if line.wait is not None:
            await line.wait.wait()
        return JSONResponse(self.whole_of(line, body))

    async def _send(self, frames: Sequence[str], wait: asyncio.Event | None) -> AsyncGenerator[str, None]:
        try:
            for index, frame in enumerate(frames):
                yield frame
                if index == 1 and wait is not None:
                    await self._wait(wait)
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_early.set()
            raise

    async def _wait(self, event: asyncio.Event) -> None:
        """Wait for `event`; when `cut` comes first, the connection breaks here."""
        waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.cut.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if self.cut.is_set():
            raise ConnectionResetError

    def stream_of(self, said: Said, body: JSONObject) -> list[str]:
        """The frames of a streamed answer."""
        raise NotImplementedError

    def whole_of(self, said: Said, body: JSONObject) -> JSONObject:
        """The body of an answer that is not streamed."""
        raise NotImplementedError


@dataclass
class ScriptedOpenAI(Scripted):
    """OpenAI's chat completions: argument text in pieces, usage in a chunk of its own when asked for."""

    models: Sequence[str] = ("text-embedding-3-small", "gpt-4o")

    def app(self) -> Starlette:
        """The API under /v1."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.answer, methods=["POST"]),
                Route("/v1/models", self._list, methods=["GET"]),
                Route("/v1/{path:path}", self._echo, methods=["GET", "POST", "DELETE", "PUT"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": model, "object": "model"} for model in self.models]})

    async def _echo(self, request: Request) -> Response:
        """Any other path: notes what came, and answers with the next raw line of the script, else with the body."""
        body = await request.body()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(f"{request.method} {request.url.path}?{request.url.query}")
        line = self.script.pop(0) if self.script else None
        if isinstance(line, Raw) and line.events:
            frames = [f"data: {event}\n\n" for event in line.events]
            return StreamingResponse(self._send(frames, None), media_type="text/event-stream")
        if isinstance(line, Raw):
            return Response(line.body, line.status, dict(line.headers))
        return Response(body, media_type=request.headers.get("content-type"))

    def stream_of(self, said: Said, body: JSONObject) -> list[str]:
        """See `Scripted`."""
        deltas: list[JSONObject] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": word} for word in _words(said.thinking)]
        deltas += [{"content": word} for word in _words(said.text)]
        for index, (call_id, name, arguments) in enumerate(said.calls):
            first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [first]})
            pieces = [arguments[at : at + 4] for at in range(0, len(arguments), 4)]
            deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
        frames = [self._frame({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
        reason = said.reason or ("tool_calls" if said.calls else "stop")
        frames.append(self._frame({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
        if (body.get("stream_options") or {}).get("include_usage"):
            frames.append(self._frame({"choices": [], "usage": _usage(said)}))
        return [*frames, "data: [DONE]\n\n"]

    def _frame(self, more: JSONObject) -> str:
        chunk = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024"} | more
        return f"data: {msgspec.json.encode(chunk).decode()}\n\n"

    def whole_of(self, said: Said, body: JSONObject) -> JSONObject:
        """See `Scripted`."""
        message: JSONObject = {"role": "assistant", "content": said.text or None}
        if said.thinking:
            message["reasoning_content"] = said.thinking
        if said.calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for call_id, name, arguments in said.calls
            ]
        reason = said.reason or ("tool_calls" if said.calls else "stop")
        choice = {"index": 0, "message": message, "finish_reason": reason}
        head = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024"}
        return head | {"choices": [choice], "usage": _usage(said)}


@dataclass
class ScriptedAnthropic(Scripted):
    """Anthropic's Messages API: named events, blocks by index, a ping, and its own checks of what it is sent."""

    def app(self) -> Starlette:
        """The API under /v1."""
        return Starlette(routes=[Route("/v1/messages", self._checked, methods=["POST"])])

    async def _checked(self, request: Request) -> Response:
        complaint = complaint_about(await request.json(), dict(request.headers))
        if complaint:
            error = {"type": "error", "error": {"type": "invalid_request_error", "message": complaint}}
            return JSONResponse(error, 400)
        return await self.answer(request)

    def stream_of(self, said: Said, body: JSONObject) -> list[str]:
        """See `Scripted`."""
        start = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
        usage = {"input_tokens": said.usage[0], "cache_read_input_tokens": 3, "output_tokens": 1}
        frames: list[JSONObject] = [
            {"type": "message_start", "message": start | {"stop_reason": None, "usage": usage}},
            {"type": "ping"},
        ]
        for index, block in enumerate(_blocks(said)):
            frames += _block_events(index, block)
        reason = said.reason or ("tool_use" if said.calls else "end_turn")
        frames.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": {"output_tokens": said.usage[1]},
            }
        )
        frames.append({"type": "message_stop"})
        return [f"event: {frame['type']}\ndata: {msgspec.json.encode(frame).decode()}\n\n" for frame in frames]

    def whole_of(self, said: Said, body: JSONObject) -> JSONObject:
        """See `Scripted`."""
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": _blocks(said),
            "stop_reason": said.reason or ("tool_use" if said.calls else "end_turn"),
            "usage": {"input_tokens": said.usage[0], "cache_read_input_tokens": 3, "output_tokens": said.usage[1]},
        }


def complaint_about(body: JSONObject, headers: Mapping[str, str]) -> str:
    """What the real API refuses, as far as it was met: empty when all is well."""
    if headers.get("anthropic-version") != "2023-06-01" or not headers.get("x-api-key"):
        return "headers"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    roles = [message["role"] for message in body["messages"]]
    if not roles or roles[0] != "user":
        return "messages: first message must use the user role"
    if any(a == b for a, b in pairwise(roles)):
        return "messages: roles must alternate"
    return _complaint_about_blocks(body)


def _complaint_about_blocks(body: JSONObject) -> str:
    open_calls: list[str] = []
    has_tools = False
    for message in body["messages"]:
        results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        if sorted(results) != sorted(open_calls):
            return f"messages: tool_use ids without tool_result: {open_calls} / {results}"
        if any(block["type"] == "text" and not block["text"].strip() for block in message["content"]):
            return "messages: text content blocks must be non-empty"
        open_calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        has_tools = has_tools or bool(open_calls)
        thinks = [block for block in message["content"] if block["type"] == "thinking"]
        if any(block.get("signature") != "signed:" + block["thinking"] for block in thinks):
            return "messages: invalid signature in thinking block"
    if has_tools and not body.get("tools"):
        return "tools: requests with tool_use must define tools"
    return ""


def _blocks(said: Said) -> list[JSONObject]:
    blocks: list[JSONObject] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thinking, "signature": "signed:" + said.thinking})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for call_id, name, arguments in said.calls:
        blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": msgspec.json.decode(arguments)})
    return blocks


def _block_events(index: int, block: JSONObject) -> list[JSONObject]:
    deltas: list[JSONObject]
    match block["type"]:
        case "text":
            empty: JSONObject = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": word} for word in _words(block["text"])]
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": word} for word in _words(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case _:
            empty = block | {"input": {}}
            text = msgspec.json.encode(block["input"]).decode() if block["input"] else ""
            pieces = [text[at : at + 4] for at in range(0, len(text), 4)] or [""]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]] if text else []


def _usage(said: Said) -> JSONObject:
    prompt, completion = said.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
