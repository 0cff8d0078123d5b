"""`POST /v1/chat/completions`: which model is meant, and the shapes of the answer. The rounds are in agent_loop."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

import msgspec

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from openai_routes.assistants import ModelDirectory
from openai_routes.chat_request import ChatRequest, read_chat_request, text_of
from openai_routes.endpoint import Inbound
from openai_routes.errors import ModelUnknown, UserMessageMissing
from openai_routes.introduction import introduce
from openai_routes.stream import Answer, EventStream
from openai_routes.tool_bridge import ToolBridge
from openai_routes.wire import (
    GATEWAY_MODEL,
    SSE_DONE,
    AssistantMessage,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FinishReason,
    Usage,
    sse_data,
)


@dataclass(frozen=True, slots=True)
class ChunkWriter:
    """Writes the chunks of one answer: one id, one date and one model name throughout."""

    id: str
    created: int
    model: str

    def chunk(self, delta: Delta, finish: FinishReason | None = None) -> bytes:
        """An event with one choice."""
        choice = ChunkChoice(0, delta, finish)
        return sse_data(
            msgspec.json.encode(Chunk(self.id, "chat.completion.chunk", self.created, self.model, [choice]))
        )

    def usage(self, usage: Usage) -> bytes:
        """The event with the token counts, sent last and only when the client asked for it."""
        return sse_data(
            msgspec.json.encode(Chunk(self.id, "chat.completion.chunk", self.created, self.model, [], usage))
        )


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The chat endpoint."""

    directory: ModelDirectory
    bridge: ToolBridge
    clock: Clock

    async def handle(self, inbound: Inbound) -> Answer | EventStream:
        """Answer a chat request (OpenAI API reference, "Create chat completion").

        Raises:
            ModelUnknown: The tenant has no such model.
            UserMessageMissing: There is nothing to answer.
            ChatError: The body cannot be read.
        """
        request = read_chat_request(inbound.body)
        if request.model != GATEWAY_MODEL:
            raise ModelUnknown(request.model)
        if "user" not in request.roles:
            raise UserMessageMissing
        return await self._introduce(inbound, request)

    async def _introduce(self, inbound: Inbound, request: ChatRequest) -> Answer | EventStream:
        last = max(index for index, role in enumerate(request.roles) if role == "user")
        question = text_of(request.messages[last], last)
        tools = await self.bridge.list_summaries(inbound.ctx)
        pieces = introduce(question, tools, inbound.ctx.tenant.name)
        writer = ChunkWriter("chatcmpl-" + new_id(), int(self.clock.now().timestamp()), request.model)
        if request.stream:
            return EventStream(_stream_text(writer, pieces, include_usage=request.include_usage))
        return _whole_text(writer, pieces)


async def _stream_text(
    writer: ChunkWriter, pieces: Iterable[str], *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    yield writer.chunk(Delta(role="assistant", content=""))
    for piece in pieces:
        yield writer.chunk(Delta(content=piece))
    yield writer.chunk(Delta(), "stop")
    if include_usage:
        yield writer.usage(Usage(0, 0, 0))
    yield SSE_DONE


def _whole_text(writer: ChunkWriter, pieces: Iterable[str]) -> Answer:
    message = AssistantMessage("assistant", "".join(pieces))
    return Answer(
        200,
        msgspec.json.encode(
            Completion(
                writer.id,
                "chat.completion",
                writer.created,
                writer.model,
                [Choice(0, message, "stop")],
                Usage(0, 0, 0),
            )
        ),
    )
