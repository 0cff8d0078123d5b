"""`POST /v1/responses`: the same chats in the shape of the Responses API, with the state that it may ask us to keep.

A response is kept for an hour where mixed batches are kept, bound to tenant and user like those.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import Raw

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import TenantContext
from openai_routes.chat_request import ChatRequest
from openai_routes.chat_run import ChatRun, ChatRuns
from openai_routes.endpoint import Inbound
from openai_routes.errors import ResponseUnknown
from openai_routes.kept_turns import KeptTurn, KeptTurns
from openai_routes.responses_request import ResponsesRequest, read_responses_request
from openai_routes.responses_stream import ResponseWriter
from openai_routes.shown_text import BREAK
from openai_routes.stream import Answer, EventStream
from openai_routes.turn import LoopEnded, Message


@dataclass(frozen=True, slots=True)
class Responses:
    """The responses endpoint."""

    runs: ChatRuns
    turns: KeptTurns
    clock: Clock

    async def handle(self, inbound: Inbound) -> Answer | EventStream:
        """Answer a request for a response (OpenAI API reference, "Create a model response").

        Raises:
            ResponseUnknown: The previous response is not kept, or is somebody else's.
            ChatError: The body cannot be read, the model is unknown, or the provider failed.
        """
        request = read_responses_request(inbound.body)
        chat = await self._with_previous(inbound.ctx, request)
        run = await self.runs.start(inbound, chat)
        writer = ResponseWriter(
            "resp_" + new_id(),
            int(self.clock.now().timestamp()),
            chat.model,
            request.echoed,
            custom=request.custom,
            progress=run.progress,
            strips_thoughts=run.strips_thoughts,
        )
        frames = self._frames(inbound.ctx, request, chat, run, writer)
        if chat.stream:
            return EventStream(frames, failed=writer.failed)
        async with aclosing(frames):
            async for _ in frames:
                pass
        return Answer(200, msgspec.json.encode(writer.response))

    async def get_response(self, inbound: Inbound) -> Answer:
        """Responses are kept to be gone on with, not to be fetched.

        Raises:
            ResponseUnknown: Always.
        """
        raise ResponseUnknown(inbound.path_params["response_id"][:100])

    async def _frames(
        self, ctx: TenantContext, request: ResponsesRequest, chat: ChatRequest, run: ChatRun, writer: ResponseWriter
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(run.events()) as batches:
            async for batch in batches:
                frames = writer.frames(batch)
                if request.is_stored and type(batch[-1]) is LoopEnded:
                    await self._keep(ctx, chat, run, writer)
                yield frames

    async def _keep(self, ctx: TenantContext, chat: ChatRequest, run: ChatRun, writer: ResponseWriter) -> None:
        said = _said(writer.response["output"])
        messages = (*(Message(bytes(raw)) for raw in chat.messages), *([Message(msgspec.json.encode(said))]))
        await self.turns.keep(ctx, [writer.response["id"]], KeptTurn(run.provider, messages))

    async def _with_previous(self, ctx: TenantContext, request: ResponsesRequest) -> ChatRequest:
        """The chat behind the response that the client refers to; its instructions do not carry over."""
        if request.previous_response_id is None:
            return request.chat
        kept = await self.turns.find(ctx, [request.previous_response_id])
        if request.previous_response_id not in kept:
            raise ResponseUnknown(request.previous_response_id[:100])
        before = [Raw(message.raw) for message in kept[request.previous_response_id].messages]
        before = [raw for raw in before if msgspec.json.decode(raw)["role"] != "system"]
        own = list(request.chat.messages)
        leading = 1 if request.chat.roles[:1] == ("system",) else 0
        messages = (*own[:leading], *before, *own[leading:])
        roles = tuple(str(msgspec.json.decode(raw)["role"]) for raw in messages)
        return replace(request.chat, messages=messages, roles=roles)


def _said(output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message that a response's items stand for."""
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    texts = [text for part in parts if (text := part.get("text") or part.get("refusal"))]
    message: dict[str, Any] = {"role": "assistant", "content": BREAK.join(texts) or None}
    calls = []
    for item in output:
        if item["type"] == "function_call":
            arguments = item["arguments"]
        elif item["type"] == "custom_tool_call":
            arguments = msgspec.json.encode({"input": item["input"]}).decode()
        else:
            continue
        calls.append(
            {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": arguments}}
        )
    if calls:
        message["tool_calls"] = calls
    return message
