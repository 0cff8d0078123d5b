"""`POST /v1/chat/completions`: which model is meant, and in which shape it answers. The rounds are in agent_loop."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from openai_routes.agent_loop import AgentLoop, LoopRequest
from openai_routes.assistants import ModelDirectory
from openai_routes.background_tasks import WITHOUT_PROVIDER, background_task
from openai_routes.chat_request import ChatRequest, read_chat_request, text_of
from openai_routes.chat_stream import ChunkWriter, CompletionWriter
from openai_routes.endpoint import Inbound
from openai_routes.errors import UserMessageMissing
from openai_routes.introduction import introduce
from openai_routes.preparation import Preparation
from openai_routes.stream import Answer, EventStream
from openai_routes.targets import PROGRESS_MODES, ProgressMode, Target, find_target
from openai_routes.tool_bridge import ToolBridge
from openai_routes.turn import NO_USAGE, LoopEnded, LoopEvent, TextDelta
from openai_routes.usage_record import ChatRecorder
from openai_routes.wire import GATEWAY_MODEL

PROGRESS_HEADER = b"x-gateway-progress"


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The chat endpoint."""

    directory: ModelDirectory
    bridge: ToolBridge
    preparation: Preparation
    recorder: ChatRecorder
    clock: Clock

    async def handle(self, inbound: Inbound) -> Answer | EventStream:
        """Answer a chat request (OpenAI API reference, "Create chat completion").

        Raises:
            ModelUnknown: The tenant has no such model.
            UserMessageMissing: There is nothing to answer.
            ChatError: The body cannot be read, or the provider failed.
        """
        request = read_chat_request(inbound.body)
        if request.model == GATEWAY_MODEL and "user" not in request.roles:
            raise UserMessageMissing
        target = find_target(await self.directory.find_models(inbound.ctx.tenant.id), request.model)
        task = background_task(inbound, request)
        if target is None:
            return await self._introduce(inbound, request, task)
        prepared = await self.preparation.prepare(inbound.ctx, request, target, task)
        progress = progress_mode(inbound, target) if task is None else "none"
        if not request.stream:
            return await self._whole(inbound, request, target, prepared, task, progress)
        writer = self._writer(request, progress, target)
        return EventStream(self._frames(inbound, target, prepared, task, writer))

    def _writer(self, request: ChatRequest, progress: ProgressMode, target: Target | None) -> ChunkWriter:
        return ChunkWriter(
            "chatcmpl-" + new_id(),
            int(self.clock.now().timestamp()),
            request.model,
            progress=progress,
            include_usage=request.include_usage,
            strips_thoughts=target is not None and target.strips_thoughts,
        )

    async def _frames(
        self, inbound: Inbound, target: Target, prepared: LoopRequest, task: str | None, writer: ChunkWriter
    ) -> AsyncGenerator[bytes, None]:
        async with (
            self.recorder.record(inbound.ctx, target, prepared.model, task) as record,
            aclosing(AgentLoop(prepared, self.clock).run()) as batches,
        ):
            async for batch in batches:
                if type(batch[-1]) is LoopEnded:
                    record.ended = batch[-1]
                if frames := writer.frames(batch):
                    yield frames

    async def _whole(
        self,
        inbound: Inbound,
        request: ChatRequest,
        target: Target,
        prepared: LoopRequest,
        task: str | None,
        progress: ProgressMode,
    ) -> Answer:
        writer = CompletionWriter(progress=progress, strips_thoughts=target.strips_thoughts)
        async with self.recorder.record(inbound.ctx, target, prepared.model, task) as record:
            async for batch in AgentLoop(prepared, self.clock).run():
                writer.add(batch)
                if type(batch[-1]) is LoopEnded:
                    record.ended = batch[-1]
        created = int(self.clock.now().timestamp())
        return Answer(200, writer.completion("chatcmpl-" + new_id(), created, request.model))

    async def _introduce(self, inbound: Inbound, request: ChatRequest, task: str | None) -> Answer | EventStream:
        last = max(index for index, role in enumerate(request.roles) if role == "user")
        pieces: Iterable[str] = (WITHOUT_PROVIDER,)
        if task is None:
            tools = await self.bridge.list_summaries(inbound.ctx)
            pieces = introduce(text_of(request.messages[last], last), tools, inbound.ctx.tenant.name)
        events: list[LoopEvent] = [*map(TextDelta, pieces), LoopEnded("stop", NO_USAGE, 0, 0)]
        if request.stream:
            return EventStream(_each(self._writer(request, "none", None), events))
        whole = CompletionWriter()
        whole.add(events)
        created = int(self.clock.now().timestamp())
        return Answer(200, whole.completion("chatcmpl-" + new_id(), created, request.model))


async def _each(writer: ChunkWriter, events: Iterable[LoopEvent]) -> AsyncGenerator[bytes, None]:
    yield writer.frames(events)


def progress_mode(inbound: Inbound, target: Target) -> ProgressMode:
    """How tools in use are shown: what the connection's header says, else what the assistant is set to."""
    wanted = inbound.header(PROGRESS_HEADER)
    for mode in PROGRESS_MODES:
        if wanted is not None and wanted.strip().lower() == mode:
            return mode
    return target.progress
