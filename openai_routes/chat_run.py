"""One chat, from a read request to what the loop says, for every surface that chats: target, task, limits, record.

What the answer looks like on the wire is the surface's business and may not come in here.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from gateway_proxy.domain.clock import Clock
from openai_routes.agent_loop import AgentLoop, LoopRequest
from openai_routes.assistants import ModelDirectory
from openai_routes.background_tasks import WITHOUT_PROVIDER, background_task
from openai_routes.chat_request import ChatRequest, text_of
from openai_routes.endpoint import Inbound
from openai_routes.errors import UserMessageMissing
from openai_routes.introduction import introduce
from openai_routes.preparation import Preparation
from openai_routes.targets import PROGRESS_MODES, ProgressMode, Target, find_target
from openai_routes.tool_bridge import ToolBridge
from openai_routes.turn import NO_USAGE, LoopEnded, LoopEvent, TextDelta
from openai_routes.usage_record import ChatRecorder
from openai_routes.wire import GATEWAY_MODEL

PROGRESS_HEADER = b"x-gateway-progress"


@dataclass(frozen=True, slots=True)
class ChatRun:
    """A chat that is ready to run. `events` starts it; the last event of the last batch is a LoopEnded."""

    events: Callable[[], AsyncGenerator[list[LoopEvent], None]]
    progress: ProgressMode = "none"
    strips_thoughts: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ChatRuns:
    """Makes runs."""

    directory: ModelDirectory
    bridge: ToolBridge
    preparation: Preparation
    recorder: ChatRecorder
    clock: Clock

    async def start(self, inbound: Inbound, request: ChatRequest) -> ChatRun:
        """Resolve the model and make the request ready; nothing has been asked of a model yet.

        Raises:
            ModelUnknown: The tenant has no such model.
            UserMessageMissing: There is nothing to answer.
            ChatError: Something in the request cannot be used.
        """
        if request.model == GATEWAY_MODEL and "user" not in request.roles:
            raise UserMessageMissing
        target = find_target(await self.directory.find_models(inbound.ctx.tenant.id), request.model)
        task = background_task(inbound, request)
        if target is None:
            pieces = (WITHOUT_PROVIDER,) if task is not None else await self._introduction(inbound, request)
            return ChatRun(lambda: _said(pieces))
        prepared = await self.preparation.prepare(inbound.ctx, request, target, task)
        return ChatRun(
            lambda: self._run(inbound, target, prepared, task),
            progress_mode(inbound, target) if task is None else "none",
            target.strips_thoughts,
            target.provider.id,
        )

    async def _run(
        self, inbound: Inbound, target: Target, prepared: LoopRequest, task: str | None
    ) -> AsyncGenerator[list[LoopEvent], None]:
        loop = AgentLoop(prepared, self.clock)
        async with (
            self.recorder.record(inbound.ctx, target, prepared.model, task, loop.spent) as record,
            aclosing(loop.run()) as batches,
        ):
            async for batch in batches:
                record.is_complete = type(batch[-1]) is LoopEnded
                yield batch

    async def _introduction(self, inbound: Inbound, request: ChatRequest) -> Iterable[str]:
        last = max(index for index, role in enumerate(request.roles) if role == "user")
        question = text_of(request.messages[last], last)
        tools = await self.bridge.list_summaries(inbound.ctx)
        return introduce(question, tools, inbound.ctx.tenant.name)


async def _said(pieces: Iterable[str]) -> AsyncGenerator[list[LoopEvent], None]:
    yield [*map(TextDelta, pieces), LoopEnded("stop", NO_USAGE, 0, 0)]


def progress_mode(inbound: Inbound, target: Target) -> ProgressMode:
    """How tools in use are shown: what the connection's header says, else what the assistant is set to."""
    wanted = inbound.header(PROGRESS_HEADER)
    for mode in PROGRESS_MODES:
        if wanted is not None and wanted.strip().lower() == mode:
            return mode
    return target.progress
