"""The rounds of one request: ask the provider, run the tools that are ours, ask again. Nobody's wire format.

Chat completions and responses share it. A call of a client's own tool ends the request and goes to the client; what
our tools said until then is handed to `keep`, so that nothing is lost when the client comes back with its results.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import msgspec
from msgspec import Raw

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.telemetry.logs import debug_switch, get_log
from openai_routes.call_sorter import CallSorter
from openai_routes.errors import FailedAfterTools, reason_of
from openai_routes.tool_results import ToolOutcome, failed
from openai_routes.tool_runner import RunOne, run_tools
from openai_routes.turn import (
    NO_USAGE,
    Call,
    CallDelta,
    LoopEnded,
    LoopEvent,
    Message,
    ProviderApi,
    ReasoningDelta,
    Spent,
    TextDelta,
    TurnEnded,
    TurnRequest,
    add_usage,
)
from openai_routes.wire import Usage

log = get_log(__name__)
is_debugging = debug_switch(__name__)

NO_CALLS: Final = b'"none"'
AUTO: Final = b'"auto"'


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one request may do. `rounds` are rounds with tools, `seconds` until no further one is begun.

    `calls` is how many calls of ours the client allows in all; None is as many as the rest does.
    """

    rounds: int = 8
    calls: int | None = None
    calls_per_round: int = 16
    concurrent: int = 8
    seconds: float = 540.0


class Toolset(Protocol):
    """The functions that the model may call, and whose they are."""

    @property
    def tools(self) -> tuple[Raw, ...]:
        """All functions, ours and the client's."""

    @property
    def own(self) -> Mapping[str, str]:
        """Function name → the catalog's name, for ours."""

    @property
    def client(self) -> Mapping[str, str]:
        """Function name → the client's name, for the client's."""


Keep = Callable[[Sequence[Message], Sequence[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LoopRequest:
    """One request, ready to run. `messages` is the conversation as the provider shall see it.

    `tool_choice` is the client's (chat shape), honoured in the first round. `keep` takes the messages that the client
    will not know and the ids of the calls that it gets, before the last event. The names are for the log.
    """

    provider: ProviderApi
    model: str
    messages: tuple[Message, ...]
    toolset: Toolset
    run_one: RunOne
    keep: Keep
    tool_choice: bytes | None
    fields: Mapping[str, Raw]
    extra: Mapping[str, object]
    stream: bool
    budget: Budget = field(default_factory=Budget)
    assistant: str = ""
    provider_name: str = ""


@dataclass(slots=True)
class _Round:
    """What one turn of the provider came to."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    reasoning_field: str = ""
    ended: TurnEnded | None = None


class AgentLoop:
    """Runs one request. Use it once."""

    def __init__(self, request: LoopRequest, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._started = clock.monotonic()
        self._added: list[Message] = []
        self._usage: Usage = NO_USAGE
        self._turns = 0
        self._rounds = 0
        self._calls = 0

    def spent(self) -> Spent:
        """What it has cost until now."""
        return Spent(self._usage, self._rounds, self._calls)

    async def run(self) -> AsyncGenerator[list[LoopEvent], None]:
        """Yield what happens, in batches; the last event is a LoopEnded. Closing it cancels provider and tools.

        Raises:
            FailedAfterTools: A failure after a tool ran, which must not be retried.
            GatewayError: Any other failure, when no tool had run.
        """
        try:
            while True:
                is_last = self._is_last()
                sorter = CallSorter(self._request.toolset.own, self._request.toolset.client)
                turn = _Round()
                with self._watched(turn, sorter):
                    async with aclosing(self._ask(turn, sorter, is_last=is_last)) as batches:
                        async for batch in batches:
                            yield batch
                assert turn.ended is not None
                self._usage = add_usage(self._usage, turn.ended.usage)
                if ending := self._ending(turn, sorter, is_last=is_last):
                    yield ending
                    return
                async with aclosing(self._answer(turn, sorter, may_run=not is_last)) as batches:
                    async for batch in batches:
                        yield batch
                if sorter.client_calls:
                    await self._keep(sorter)
                    yield [self._end(turn)]
                    return
        except FailedAfterTools:
            raise
        except GatewayError as error:
            if self._calls:
                raise FailedAfterTools(error) from error
            raise

    @contextmanager
    def _watched(self, turn: _Round, sorter: CallSorter) -> Iterator[None]:
        """Tell the log of one turn of the model, however it ends."""
        self._turns += 1
        began = self._clock.monotonic()
        outcome = "cancelled"
        try:
            yield
            if turn.ended is not None:
                outcome = turn.ended.reason
        except Exception as error:
            outcome = reason_of(error)
            raise
        finally:
            if is_debugging():
                log.debug(
                    "chat_round_ended",
                    assistant=self._request.assistant,
                    provider=self._request.provider_name,
                    model=self._request.model,
                    round=self._turns,
                    tool_calls=len(sorter.calls),
                    outcome=outcome,
                    milliseconds=round((self._clock.monotonic() - began) * 1000),
                )

    def _ending(self, turn: _Round, sorter: CallSorter, *, is_last: bool) -> list[LoopEvent]:
        """The last events, when the turn calls nothing, or nothing that may still be run."""
        if not sorter.calls:
            return [self._end(turn)]
        if is_last and not sorter.client_calls:
            return [*self._budget_note(turn), self._end(replace_reason(turn))]
        return []

    async def _keep(self, sorter: CallSorter) -> None:
        """Keep what the client will not know, if there is anything."""
        if self._calls or sorter.own_calls:
            await self._request.keep(self._added, [call.id for call in sorter.client_calls])

    def _is_last(self) -> bool:
        """Whether the next turn must do without further calls of ours; those of made-up names count as ours."""
        spent = self._clock.monotonic() - self._started
        budget = self._request.budget
        return self._rounds >= budget.rounds or spent > budget.seconds or self._calls_left() == 0

    def _calls_left(self) -> int | None:
        """How many calls the client still allows; None when it has set no limit."""
        allowed = self._request.budget.calls
        return None if allowed is None else max(0, allowed - self._calls)

    async def _ask(self, turn: _Round, sorter: CallSorter, *, is_last: bool) -> AsyncGenerator[list[LoopEvent], None]:
        request = TurnRequest(
            self._request.model,
            (*self._request.messages, *self._added),
            self._request.toolset.tools,
            self._choice(is_last=is_last),
            self._request.fields,
            self._request.extra,
            self._request.stream,
            may_retry=not self._calls,
        )
        async with aclosing(self._request.provider.run_turn(request)) as batches:
            async for batch in batches:
                out: list[LoopEvent] = []
                for event in batch:
                    if type(event) is TextDelta:
                        turn.text.append(event.text)
                        out.append(event)
                    elif type(event) is CallDelta:
                        out.extend(sorter.feed(event))
                    elif type(event) is TurnEnded:
                        turn.ended = event
                        out.extend(sorter.finish())
                    else:
                        if type(event) is ReasoningDelta:
                            turn.reasoning.append(event.text)
                            turn.reasoning_field = event.field
                        out.append(event)  # type: ignore[arg-type]
                if out:
                    yield out

    def _choice(self, *, is_last: bool) -> bytes | None:
        """The tool_choice of the next turn: the client's in the first; a forced one would never let the model end."""
        if is_last and self._request.toolset.own:
            return NO_CALLS
        given = self._request.tool_choice
        if not self._added or given in (None, NO_CALLS, AUTO):
            return given
        return None

    async def _answer(
        self, turn: _Round, sorter: CallSorter, *, may_run: bool
    ) -> AsyncGenerator[list[LoopEvent], None]:
        """Add the assistant's message and the results of our calls to the conversation, running them if allowed."""
        assert turn.ended is not None
        self._added.append(Message(_assistant(turn, sorter.calls), turn.ended.native))
        outcomes: dict[str, ToolOutcome] = {}
        budget = self._request.budget
        own = sorter.own_calls
        left = self._calls_left()
        most = budget.calls_per_round if left is None else min(budget.calls_per_round, left)
        running = own[:most] if may_run else []
        for call in own[len(running) :]:
            allowed = f"at most {most} tool calls are run in this turn" if may_run else "no more calls"
            outcomes[call.id] = failed(f"this call was not run: {allowed}; ask again if you still need it")
        if running:
            self._rounds += 1
            self._calls += len(running)
            runs = run_tools(running, self._request.run_one, outcomes, self._clock, concurrent=budget.concurrent)
            async with aclosing(runs) as batches:
                async for batch in batches:
                    yield batch
        self._added.extend(Message(_tool_message(call.id, outcomes[call.id].text)) for call in own)
        images = [url for call in own for url in outcomes[call.id].images]
        if images:
            self._added.append(Message(_images_message(images)))

    def _budget_note(self, turn: _Round) -> list[LoopEvent]:
        """A line for people. Where there are no tools (background tasks) it would end up in a title."""
        if not self._request.toolset.own:
            return []
        budget = self._request.budget
        limit = f"{budget.calls} tool calls" if self._calls_left() == 0 else f"{budget.rounds} rounds of tool calls"
        note = f"[The limit of {limit} is reached.]"
        return [TextDelta(f"\n\n{note}" if any(turn.text) else note)]

    def _end(self, turn: _Round) -> LoopEnded:
        assert turn.ended is not None
        return LoopEnded(turn.ended.reason, self._usage, self._rounds, self._calls)


def replace_reason(turn: _Round) -> _Round:
    """The same turn, ended as if the model had stopped by itself."""
    assert turn.ended is not None
    return replace(turn, ended=msgspec.structs.replace(turn.ended, reason="stop"))


def _assistant(turn: _Round, calls: Sequence[Call]) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": "".join(turn.text) or None}
    if turn.reasoning_field:
        message[turn.reasoning_field] = "".join(turn.reasoning)
    message["tool_calls"] = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
        for call in calls
    ]
    return msgspec.json.encode(message)


def _tool_message(call_id: str, text: str) -> bytes:
    return msgspec.json.encode({"role": "tool", "tool_call_id": call_id, "content": text})


def _images_message(urls: Sequence[str]) -> bytes:
    parts: list[dict[str, object]] = [{"type": "text", "text": "Images returned by the tools, in order:"}]
    parts.extend({"type": "image_url", "image_url": {"url": url}} for url in urls)
    return msgspec.json.encode({"role": "user", "content": parts})
