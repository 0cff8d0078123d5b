"""Runs the gateway's own calls of one turn: at the same time, within a bound, results kept by call. No policy here;
that is the router's, behind `RunOne`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.telemetry.logs import get_log
from openai_routes.errors import wire_error
from openai_routes.tool_results import ToolOutcome, failed
from openai_routes.turn import Call, LoopEvent, ToolFinished, ToolProgressed, ToolStarted

OnProgress = Callable[[str], None]
RunOne = Callable[[Call, OnProgress], Awaitable[ToolOutcome]]
PROGRESS_WAITING: Final = 1000

log = get_log(__name__)


async def run_tools(
    calls: Sequence[Call], run_one: RunOne, outcomes: dict[str, ToolOutcome], clock: Clock, *, concurrent: int
) -> AsyncGenerator[list[LoopEvent], None]:
    """Run `calls`, at most `concurrent` at a time, and put what each came to into `outcomes` under its id.

    Yields what happens meanwhile. Closing it cancels the calls and waits until they have told their backends. A call
    never raises: whatever fails becomes text for the model.
    """
    events: asyncio.Queue[LoopEvent] = asyncio.Queue()
    turns = asyncio.Semaphore(concurrent)

    async def run(call: Call) -> None:
        def progressed(text: str) -> None:
            if events.qsize() < PROGRESS_WAITING:
                events.put_nowait(ToolProgressed(call.id, call.name, text))

        async with turns:
            started = clock.monotonic()
            events.put_nowait(ToolStarted(call.id, call.name, call.arguments))
            outcome = outcomes[call.id] = await _outcome_of(call, run_one, progressed)
        seconds = clock.monotonic() - started
        events.put_nowait(ToolFinished(call.id, call.name, outcome.text, outcome.is_error, seconds))

    tasks = [asyncio.create_task(run(call)) for call in calls]
    try:
        finished = 0
        while finished < len(calls):
            batch = [await events.get()]
            while not events.empty():
                batch.append(events.get_nowait())
            finished += sum(1 for event in batch if type(event) is ToolFinished)
            yield batch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome_of(call: Call, run_one: RunOne, progressed: OnProgress) -> ToolOutcome:
    try:
        return await run_one(call, progressed)
    except GatewayError as error:
        return failed(wire_error(error).message)
    except Exception as error:  # the boundary of one call: the others and the answer go on
        log.error("openai_tool_failed", reason=type(error).__name__, exc_info=error)
        return failed("the tool failed inside the gateway")
