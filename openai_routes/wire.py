"""The shapes of OpenAI's API as clients read them. Shapes only: no decision and no I/O may be put here.

What a client sends is decoded in two steps: the outer object to `dict[str, Raw]`, then the fields that we read. All
other fields stay bytes and reach the provider as they came.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

GATEWAY_MODEL: Final = "mcp-gateway"
SSE_DONE: Final = b"data: [DONE]\n\n"

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ErrorDetail(msgspec.Struct):
    """The object inside every error body; all four keys are always there, because SDKs read them."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ModelCard(msgspec.Struct, omit_defaults=True):
    """One entry of `GET /v1/models`. `name` is what Open WebUI shows instead of the id."""

    id: str
    object: str = msgspec.field()
    created: int = msgspec.field()
    owned_by: str = msgspec.field()
    name: str = ""
    description: str = ""


class ModelList(msgspec.Struct):
    """The body of `GET /v1/models`."""

    object: str
    data: list[ModelCard]


class FunctionCall(msgspec.Struct):
    """A function call as it stands in a message: `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct):
    """A complete tool call of an assistant message."""

    id: str
    function: FunctionCall
    type: str = "function"


class FunctionDelta(msgspec.Struct, omit_defaults=True):
    """A piece of a function call in a stream."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, omit_defaults=True):
    """A piece of a tool call in a stream. Indexes run from 0 without gaps, or SDKs fail."""

    index: int = msgspec.field()
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET


class Delta(msgspec.Struct, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    annotations: Raw | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """The one choice of a chunk. It is never left out: clients index it blindly."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: Raw | None = None


class PromptDetails(msgspec.Struct, frozen=True):
    """What stands behind the prompt tokens: how many came from a cache, how many were written to one."""

    cached_tokens: int = 0
    cache_creation_tokens: int = 0

    def __add__(self, other: "PromptDetails") -> "PromptDetails":
        return PromptDetails(
            self.cached_tokens + other.cached_tokens, self.cache_creation_tokens + other.cache_creation_tokens
        )


class CompletionDetails(msgspec.Struct, frozen=True):
    """What stands behind the completion tokens."""

    reasoning_tokens: int = 0

    def __add__(self, other: "CompletionDetails") -> "CompletionDetails":
        return CompletionDetails(self.reasoning_tokens + other.reasoning_tokens)


class Usage(msgspec.Struct, frozen=True):
    """Token counts, summed over the rounds of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()


class Chunk(msgspec.Struct, omit_defaults=True):
    """One `chat.completion.chunk`. `event` is what Open WebUI shows as a status line; others pass over it."""

    id: str
    object: str = msgspec.field()
    created: int = msgspec.field()
    model: str = msgspec.field()
    choices: list[ChunkChoice] = msgspec.field()
    usage: Usage | UnsetType = UNSET
    event: Raw | UnsetType = UNSET


class AssistantMessage(msgspec.Struct, omit_defaults=True):
    """The message of a completion. `content` is there even when it is null."""

    role: str = msgspec.field()
    content: str | None = msgspec.field()
    reasoning_content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    annotations: Raw | UnsetType = UNSET


class Choice(msgspec.Struct):
    """The one choice of a completion."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: Raw | None = None


class Completion(msgspec.Struct):
    """The body of a chat completion that is not streamed."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class StreamOptions(msgspec.Struct):
    """What the client wants of a stream."""

    include_usage: bool | None = False


class ContentPart(msgspec.Struct):
    """A part of a message's content, as far as we read it."""

    type: str = "text"
    text: str = ""


class InboundMessage(msgspec.Struct):
    """A message of a request, as far as we read it; what the provider gets is the original."""

    role: str
    content: str | list[ContentPart] | None = None


def sse_data(payload: bytes) -> bytes:
    """One server-sent event that carries `payload`, which holds no newline because msgspec writes none."""
    return b"data: " + payload + b"\n\n"
