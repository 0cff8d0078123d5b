"""`POST /v1/chat/completions`: from a request body to a stream of chunks or one completion, and nothing else."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from openai_routes.chat_request import read_chat_request
from openai_routes.chat_run import ChatRun, ChatRuns
from openai_routes.chat_stream import ChunkWriter, CompletionWriter
from openai_routes.endpoint import Inbound
from openai_routes.stream import Answer, EventStream


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The chat endpoint."""

    runs: ChatRuns
    clock: Clock

    async def handle(self, inbound: Inbound) -> Answer | EventStream:
        """Answer a chat request (OpenAI API reference, "Create chat completion").

        Raises:
            ChatError: The body cannot be read, the model is unknown, or the provider failed.
        """
        request = read_chat_request(inbound.body)
        run = await self.runs.start(inbound, request)
        answer_id, created = "chatcmpl-" + new_id(), int(self.clock.now().timestamp())
        if request.stream:
            writer = ChunkWriter(
                answer_id,
                created,
                request.model,
                progress=run.progress,
                include_usage=request.include_usage,
                strips_thoughts=run.strips_thoughts,
            )
            return EventStream(_frames(run, writer))
        whole = CompletionWriter(progress=run.progress, strips_thoughts=run.strips_thoughts)
        async with aclosing(run.events()) as batches:
            async for batch in batches:
                whole.add(batch)
        return Answer(200, whole.completion(answer_id, created, request.model))


async def _frames(run: ChatRun, writer: ChunkWriter) -> AsyncGenerator[bytes, None]:
    async with aclosing(run.events()) as batches:
        async for batch in batches:
            if frames := writer.frames(batch):
                yield frames
