"""Anthropic's Messages API, natively: its events and answers into turns. How requests are written is next door.

Signed thinking must go back unchanged while tools run, so a turn with thinking carries its blocks as they came.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway_proxy.egress.exchange import Reply
from gateway_proxy.egress.origin import parse_target
from openai_routes.call_assembler import CallAssembler
from openai_routes.errors import ProviderMisbehaved, ProviderRefused
from openai_routes.providers.anthropic_request import encode_request, object_of
from openai_routes.providers.failures import failure_of
from openai_routes.providers.sse import EventTooLarge, SseReader
from openai_routes.providers.transport import ProviderLine
from openai_routes.turn import ReasoningDelta, TextDelta, TurnEnded, TurnEvent, TurnRequest
from openai_routes.wire import CompletionDetails, FinishReason, PromptDetails, Usage

VERSION: Final = "2023-06-01"
ANSWER_LIMIT: Final = 32 * 1024 * 1024
HEADERS: Final = (("content-type", "application/json"),)
REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
Block = dict[str, Any]


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(msgspec.Struct):
    content: list[Block] = []
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: Block | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: Any = None


_event: Final = msgspec.json.Decoder(_Event)
_message: Final = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True)
class AnthropicProvider:
    """A `turn.ProviderApi` over `POST {base_url}/messages`; a base URL without a path gets `/v1` first."""

    line: ProviderLine

    async def run_turn(self, request: TurnRequest) -> AsyncGenerator[list[TurnEvent], None]:
        """See `turn.ProviderApi`."""
        bare = parse_target(self.line.provider.base_url).path.strip("/") == ""
        async with self.line.request(
            "POST",
            "/v1/messages" if bare else "/messages",
            encode_request(request),
            headers=HEADERS,
            may_retry=request.may_retry,
        ) as reply:
            reader = _TurnReader(self.line)
            if not (reply.header("content-type") or "").startswith("text/event-stream"):
                yield reader.read_whole(await self.line.read(reply, limit=ANSWER_LIMIT))
            else:
                async with aclosing(reader.read_events(reply)) as batches:
                    async for batch in batches:
                        yield batch
            yield [reader.end()]


class _TurnReader:
    """Reads one answer, streamed or whole, and keeps its blocks."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line
        self._name = line.provider.name
        self._calls = CallAssembler()
        self._blocks: dict[int, Block] = {}
        self._arguments: dict[int, list[str]] = {}
        self._reason: str | None = None
        self._usage = _Usage()
        self._is_done = False

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
                self._read_event(event, batch)
            if batch:
                yield batch
            if data is None:
                break

    def read_whole(self, body: bytes) -> list[TurnEvent]:
        """The events of an answer that was not streamed."""
        try:
            message = _message.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderMisbehaved(self._name, "something that is no message") from None
        batch: list[TurnEvent] = []
        for index, block in enumerate(message.content):
            self._begin(index, block, batch)
        self._reason = message.stop_reason
        self._count(message.usage)
        self._is_done = True
        return batch

    def end(self) -> TurnEnded:
        """The end of the turn, with the blocks as they came when the model thought before it called.

        Raises:
            ProviderMisbehaved: The stream broke off.
        """
        if not self._is_done and self._reason is None:
            raise ProviderMisbehaved(self._name, "the stream ended half-way")
        reason = REASONS.get(self._reason or "end_turn", "stop")
        if self._calls.is_empty():
            return TurnEnded("stop" if reason == "tool_calls" else reason, self._total())
        for index, pieces in self._arguments.items():
            if pieces:
                self._blocks[index]["input"] = object_of("".join(pieces))
        blocks = [block for _, block in sorted(self._blocks.items()) if block.get("text", "…").strip()]
        thought = any(block["type"] in ("thinking", "redacted_thinking") for block in blocks)
        return TurnEnded("tool_calls", self._total(), msgspec.json.encode(blocks) if thought else None)

    def _read_event(self, data: bytes, batch: list[TurnEvent]) -> None:
        try:
            event = _event.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderMisbehaved(self._name, "something that is no event of the Messages API") from None
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._extend(event.index, event.delta, batch)
            case "content_block_start" if event.content_block is not None:
                self._begin(event.index, event.content_block, batch)
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
            case "message_delta":
                self._reason = event.delta.stop_reason if event.delta is not None else self._reason
                self._count(event.usage)
            case "message_stop":
                self._is_done = True
            case "error":
                found = failure_of({"error": event.error}, secrets=self._line.provider.secrets)
                raise ProviderRefused(self._name, None, found.message or "an error", found.type)

    def _begin(self, index: int, block: Block, batch: list[TurnEvent]) -> None:
        match block:
            case {"type": "text", "text": str(text)}:
                self._blocks[index] = {"type": "text", "text": text}
                if text:
                    batch.append(TextDelta(text))
            case {"type": "tool_use", "id": str(call_id), "name": str(name)}:
                given = block.get("input") or None
                delta = self._calls.feed(index, call_id, name, given)
                self._blocks[index] = {"type": "tool_use", "id": delta.id, "name": name, "input": given or {}}
                self._arguments[index] = []
                batch.append(delta)
            case {"type": "thinking"}:
                self._blocks[index] = dict(block)
                if isinstance(thought := block.get("thinking"), str) and thought:
                    batch.append(ReasoningDelta(thought))
            case {"type": "redacted_thinking"}:
                self._blocks[index] = dict(block)

    def _extend(self, index: int, delta: _Delta, batch: list[TurnEvent]) -> None:
        block = self._blocks.get(index)
        if block is None:
            return
        match delta.type:
            case "text_delta":
                block["text"] += delta.text
                batch.append(TextDelta(delta.text))
            case "input_json_delta" if index in self._arguments:
                self._arguments[index].append(delta.partial_json)
                batch.append(self._calls.feed(index, None, None, delta.partial_json))
            case "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta.thinking
                batch.append(ReasoningDelta(delta.thinking))
            case "signature_delta":
                block["signature"] = block.get("signature", "") + delta.signature

    def _count(self, usage: _Usage | None) -> None:
        """Counts are cumulative: what a later event says replaces what an earlier one said."""
        if usage is None:
            return
        for name in usage.__struct_fields__:
            if (value := getattr(usage, name)) is not None:
                setattr(self._usage, name, value)

    def _total(self) -> Usage:
        read, written = self._usage.cache_read_input_tokens or 0, self._usage.cache_creation_input_tokens or 0
        prompt = (self._usage.input_tokens or 0) + read + written
        completion = self._usage.output_tokens or 0
        return Usage(prompt, completion, prompt + completion, PromptDetails(read, written), CompletionDetails())
