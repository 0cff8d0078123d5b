"""The OpenAI chat format, as OpenAI and the many servers that imitate it speak it. Lenient in, strict out.

Only what is named below leaves this module: unknown events and fields of a provider never reach a client
(security.md, incident 9).
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway_proxy.egress.exchange import Reply
from openai_routes.call_assembler import CallAssembler
from openai_routes.errors import ProviderMisbehaved, ProviderRefused
from openai_routes.providers.failures import failure_of
from openai_routes.providers.repeated import RepeatedChunks
from openai_routes.providers.sse import EventTooLarge, SseReader
from openai_routes.providers.transport import ProviderLine
from openai_routes.turn import (
    Annotated,
    CallDelta,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TurnEnded,
    TurnEvent,
    TurnRequest,
)
from openai_routes.wire import CompletionDetails, FinishReason, PromptDetails, Usage

ANSWER_LIMIT: Final = 32 * 1024 * 1024
JSON_HEADERS: Final = (("content-type", "application/json"),)
STREAM_HEADERS: Final = (*JSON_HEADERS, ("accept", "text/event-stream"))
DONE: Final = b"[DONE]"
OURS: Final = frozenset({"model", "messages", "tools", "tool_choice", "stream", "stream_options", "n"})
REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | dict[str, Any] | list[Any] | None = None
    thinking: str | dict[str, Any] | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    annotations: Raw = Raw()


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Raw = Raw()


class _Details(msgspec.Struct):
    cached_tokens: int | None = 0
    reasoning_tokens: int | None = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_chunk: Final = msgspec.json.Decoder(_Chunk, strict=False)


@dataclass(frozen=True, slots=True)
class OpenAIProvider:
    """A `turn.ProviderApi` over `POST {base_url}/chat/completions`."""

    line: ProviderLine

    async def run_turn(self, request: TurnRequest) -> AsyncGenerator[list[TurnEvent], None]:
        """See `turn.ProviderApi`."""
        async with self.line.request(
            "POST",
            "/chat/completions",
            encode_request(request),
            headers=STREAM_HEADERS if request.stream else JSON_HEADERS,
            may_retry=request.may_retry,
        ) as reply:
            reader = _TurnReader(self.line)
            is_events = (reply.header("content-type") or "").startswith("text/event-stream")
            if not is_events:
                yield reader.read_whole(await self.line.read(reply, limit=ANSWER_LIMIT))
            else:
                async with aclosing(reader.read_events(reply)) as batches:
                    async for batch in batches:
                        yield batch
            yield [reader.end()]


def encode_request(request: TurnRequest) -> bytes:
    """The request body. The client's fields stay as they came; what the operator merges goes last."""
    body: dict[str, object] = {
        "model": request.model,
        "messages": [Raw(message.raw) for message in request.messages],
        **{name: value for name, value in request.fields.items() if name not in OURS},
    }
    if request.tools:
        body["tools"] = list(request.tools)
        if request.tool_choice is not None:
            body["tool_choice"] = Raw(request.tool_choice)
    else:
        body.pop("parallel_tool_calls", None)
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    body.update((name, value) for name, value in request.extra.items() if name not in ("messages", "stream"))
    return msgspec.json.encode(body)


class _TurnReader:
    """Reads one answer, streamed or whole, and remembers how it ends."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line
        self._name = line.provider.name
        self._calls = CallAssembler()
        self._repeated = RepeatedChunks()
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._is_done = False
        self._has_choice = False

    async def read_events(self, reply: Reply) -> AsyncGenerator[list[TurnEvent], None]:
        """The events of a stream, one batch for each read."""
        sse = SseReader()
        while not self._is_done:
            data = await self._line.read_chunk(reply)
            try:
                events = sse.finish() if data is None else sse.feed(data)
            except EventTooLarge:
                raise ProviderMisbehaved(self._name, "an event of more than 10 MiB") from None
            batch: list[TurnEvent] = []
            for event in events:
                if event == DONE:
                    self._is_done = True
                    break
                text = self._repeated.find_text(event)
                if text is None:
                    self._read_chunk(event, batch)
                elif text:
                    batch.append(TextDelta(text))
            if batch:
                yield batch
            if data is None:
                break

    def read_whole(self, body: bytes) -> list[TurnEvent]:
        """The events of an answer that was not streamed."""
        batch: list[TurnEvent] = []
        self._read_chunk(body, batch)
        if not self._has_choice:
            raise ProviderMisbehaved(self._name, "an answer without choices")
        self._is_done = True
        return batch

    def end(self) -> TurnEnded:
        """The end of the turn. That there are calls counts for more than the reason given: some say `stop`.

        Raises:
            ProviderMisbehaved: The stream broke off.
        """
        if not self._is_done and self._reason is None:
            raise ProviderMisbehaved(self._name, "the stream ended half-way")
        reason = REASONS.get(self._reason or "stop", "stop")
        if not self._calls.is_empty():
            reason = "tool_calls"
        elif reason == "tool_calls":
            reason = "stop"
        return TurnEnded(reason, self._usage)

    def _read_chunk(self, data: bytes, batch: list[TurnEvent]) -> None:
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderMisbehaved(self._name, "something that is no chat completion") from None
        if chunk.error is not None:
            found = failure_of({"error": chunk.error}, secrets=self._line.provider.secrets)
            raise ProviderRefused(self._name, None, found.message or "an error", found.type, found.param, found.code)
        if chunk.usage is not None:
            self._usage = _usage_of(chunk.usage)
        if not chunk.choices:
            return
        self._has_choice = True
        choice = chunk.choices[0]
        self._read_choice(choice, batch)
        if batch and type(said := batch[-1]) is TextDelta and choice.delta is not None:
            is_all = chunk.usage is None and choice.finish_reason is None and _says_only_text(choice.delta)
            if is_all and not said.logprobs:
                self._repeated.learn(data, said.text)

    def _read_choice(self, choice: _Choice, batch: list[TurnEvent]) -> None:
        if choice.finish_reason:
            self._reason = choice.finish_reason
        delta = choice.delta or choice.message
        if delta is None:
            return
        if delta.reasoning_content:
            batch.append(ReasoningDelta(delta.reasoning_content, "reasoning_content"))
        elif isinstance(thought := delta.reasoning or delta.thinking, str):
            batch.append(ReasoningDelta(thought))
        if delta.content:
            batch.extend(_content_of(delta.content, choice.logprobs))
        if delta.refusal:
            batch.append(RefusalDelta(delta.refusal))
        annotations = bytes(delta.annotations)
        if annotations[:1] == b"[" and annotations != b"[]":
            batch.append(Annotated(annotations))
        if delta.tool_calls:
            batch.extend(self._calls_of(delta.tool_calls))

    def _calls_of(self, calls: Iterable[_Call]) -> Iterable[CallDelta]:
        for call in calls:
            function = call.function or _Function()
            yield self._calls.feed(call.index, call.id, function.name, function.arguments)


def _says_only_text(delta: _Delta) -> bool:
    """Whether there is nothing in a delta but a text."""
    others = (delta.reasoning_content, delta.reasoning, delta.thinking, delta.refusal, delta.tool_calls)
    annotations = bytes(delta.annotations) in (b"", b"null", b"[]")
    return isinstance(delta.content, str) and annotations and not any(others)


def _content_of(content: str | list[Any], logprobs: Raw) -> Iterable[TurnEvent]:
    """Text, or the parts that some servers send: text is text, thinking is reasoning, others are left out."""
    if isinstance(content, str):
        found = bytes(logprobs)
        yield TextDelta(content, found if found[:1] == b"{" else b"")
        return
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield TextDelta(part["text"])
        elif isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            pieces = inner if isinstance(inner, list) else [{"text": inner}]
            text = "".join(p["text"] for p in pieces if isinstance(p, dict) and isinstance(p.get("text"), str))
            if text:
                yield ReasoningDelta(text)


def _usage_of(usage: _Usage) -> Usage:
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    prompt_details = usage.prompt_tokens_details or _Details()
    completion_details = usage.completion_tokens_details or _Details()
    return Usage(
        prompt,
        completion,
        usage.total_tokens or prompt + completion,
        PromptDetails(prompt_details.cached_tokens or 0),
        CompletionDetails(completion_details.reasoning_tokens or 0),
    )
