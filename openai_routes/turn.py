"""The vocabulary between surfaces, loop and providers: what a model is asked, and what it says, in nobody's format.

Messages are kept in the shape of chat completions, because every client and most providers speak it; a provider that
speaks another translates. Nothing here does I/O or decides anything.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import msgspec
from msgspec import Raw

from openai_routes.wire import FinishReason, Usage


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of the conversation as JSON of the chat shape.

    `native` is the same message in the provider's own format where the chat shape would lose something (signed
    reasoning); it is only ever given back to the provider that made it.
    """

    raw: bytes
    native: bytes | None = None


class Call(msgspec.Struct, frozen=True):
    """A complete tool call. `arguments` is the JSON text that the model wrote, valid or not."""

    id: str
    name: str
    arguments: str


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer. `logprobs` is the provider's own object, empty when there is none."""

    text: str
    logprobs: bytes = b""


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of what the model thinks before it answers.

    `field` is the message field in which the provider wants it back while tools run, empty when it does not.
    """

    text: str
    field: str = ""


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's refusal (structured outputs)."""

    text: str


class Annotated(msgspec.Struct, frozen=True, gc=False):
    """Citations: a raw JSON array in OpenAI's shape."""

    annotations: bytes


class CallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call. `position` counts the calls of the turn from 0 without gaps.

    From a provider, id and name stand in every piece, as far as they are known. To a surface they stand in the first
    piece only, and are empty in the others.
    """

    position: int
    id: str
    name: str
    arguments: str


class TurnEnded(msgspec.Struct, frozen=True):
    """The last event of every turn. `native` is the whole assistant message in the provider's format, if needed."""

    reason: FinishReason
    usage: Usage | None = None
    native: bytes | None = None


class ToolStarted(msgspec.Struct, frozen=True):
    """The gateway begins to run a tool for the model. `name` is the function that the model called."""

    call_id: str
    name: str
    arguments: str


class ToolProgressed(msgspec.Struct, frozen=True):
    """A tool says how far it is (MCP `notifications/progress`), as one line of plain text."""

    call_id: str
    name: str
    text: str


class ToolFinished(msgspec.Struct, frozen=True):
    """A tool is done. `text` is what the model gets."""

    call_id: str
    name: str
    text: str
    is_error: bool
    seconds: float


class LoopEnded(msgspec.Struct, frozen=True):
    """The last event of a loop: why it ended, and what it cost in tokens, rounds with tools, and tool calls."""

    reason: FinishReason
    usage: Usage
    rounds: int
    calls: int


class Spent(msgspec.Struct, frozen=True):
    """What a chat has cost so far. The tokens of a turn are known when it is over, and not of one that broke off."""

    usage: Usage
    rounds: int
    calls: int


TurnEvent = TextDelta | ReasoningDelta | RefusalDelta | Annotated | CallDelta | TurnEnded

LoopEvent = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | Annotated
    | CallDelta
    | ToolStarted
    | ToolProgressed
    | ToolFinished
    | LoopEnded
)


class TurnRequest(msgspec.Struct, frozen=True):
    """What a provider is asked in one turn.

    `tools` are function tools of the chat shape; `tool_choice` is of that shape too, None for the default. `fields`
    are the other parameters of a chat request (temperature, response_format, …) as raw JSON, and `extra` is what the
    operator merges last. With `may_retry` a failure before the first byte is tried once more.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Raw, ...]
    tool_choice: bytes | None
    fields: Mapping[str, Raw]
    extra: Mapping[str, object]
    stream: bool
    may_retry: bool


class ProviderApi(Protocol):
    """An LLM API that can take a turn."""

    def run_turn(self, request: TurnRequest) -> AsyncGenerator[list[TurnEvent], None]:
        """Yield what the model says, in batches as they came off the wire; the last event is a TurnEnded.

        Closing the generator closes the upstream request. Streamed or not, the events are the same.

        Raises:
            ChatError: One of the provider leaves of `errors`.
        """


def add_usage(total: Usage, more: Usage | None) -> Usage:
    """The sum of two counts, details included."""
    if more is None:
        return total
    return Usage(
        total.prompt_tokens + more.prompt_tokens,
        total.completion_tokens + more.completion_tokens,
        total.total_tokens + more.total_tokens,
        total.prompt_tokens_details + more.prompt_tokens_details,
        total.completion_tokens_details + more.completion_tokens_details,
    )


NO_USAGE = Usage(0, 0, 0)
