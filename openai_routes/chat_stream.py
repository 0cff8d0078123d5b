"""What the loop says, as chunks of a chat completion or as one completion. Shapes only; one writer for each answer.

Every frame is an ordinary chunk with one choice: readers index `choices[0]` blindly, and an event of another form
could make a browser act (security.md, incident 9).
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from openai_routes.introduction import plain
from openai_routes.shown_text import ShownText
from openai_routes.targets import ProgressMode
from openai_routes.turn import (
    Annotated,
    CallDelta,
    LoopEnded,
    LoopEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolFinished,
    ToolProgressed,
    ToolStarted,
)
from openai_routes.wire import (
    SSE_DONE,
    AssistantMessage,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FinishReason,
    FunctionCall,
    FunctionDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    sse_data,
)

PIECE: Final = 128 * 1024
"""Characters of one chunk: an event to a client stays well below 1 MiB (security.md D2)."""
_encode: Final = msgspec.json.Encoder().encode
ToolEvent = ToolStarted | ToolProgressed | ToolFinished


def status_line(event: ToolEvent) -> str:
    """What people read while a tool runs."""
    name = plain(event.name, 80)
    match event:
        case ToolStarted():
            return f"Running {name}…"
        case ToolProgressed():
            return f"{name}: {event.text}"
    return f"{name} {'failed' if event.is_error else 'finished'} after {event.seconds:.1f} s"


class ChunkWriter:
    """Writes the chunks of one answer: one id, one date and one model name throughout, one role, one finish."""

    def __init__(
        self,
        answer_id: str,
        created: int,
        model: str,
        *,
        progress: ProgressMode = "none",
        include_usage: bool = False,
        strips_thoughts: bool = False,
    ) -> None:
        self._id = answer_id
        self._created = created
        self._model = model
        self._progress = progress
        self._include_usage = include_usage
        self._shown = ShownText(strips_thoughts=strips_thoughts)
        self._has_role = False
        empty = _encode(Chunk(answer_id, "chat.completion.chunk", created, model, []))
        self._head = b"data: " + empty[:-2] + b'{"index":0,"delta":{"content":'
        self._tail = b'},"finish_reason":null,"logprobs":null}]}\n\n'

    def frames(self, events: Iterable[LoopEvent]) -> bytes:
        """The frames of a batch of events, which may be none; the last batch ends with `[DONE]`."""
        parts: list[bytes] = []
        for event in events:
            if type(event) is TextDelta:
                self._text(event, parts)
            else:
                self._other(event, parts)
        if parts and not self._has_role:
            self._has_role = True
            parts.insert(0, self.chunk(Delta(role="assistant", content="")))
        return b"".join(parts)

    def chunk(self, delta: Delta, finish: FinishReason | None = None, **more: Any) -> bytes:
        """A frame with one choice."""
        choice = ChunkChoice(0, delta, finish)
        return sse_data(_encode(Chunk(self._id, "chat.completion.chunk", self._created, self._model, [choice], **more)))

    def _text(self, event: TextDelta, parts: list[bytes]) -> None:
        text = self._shown.feed(event.text)
        if not text:
            return
        if event.logprobs and len(text) <= PIECE:
            choice = ChunkChoice(0, Delta(content=text), None, Raw(event.logprobs))
            chunk = Chunk(self._id, "chat.completion.chunk", self._created, self._model, [choice])
            parts.append(sse_data(_encode(chunk)))
            return
        for piece in _pieces(text):
            parts.append(self._head + _encode(piece) + self._tail)

    def _other(self, event: LoopEvent, parts: list[bytes]) -> None:
        match event:
            case ReasoningDelta():
                parts.extend(self.chunk(Delta(reasoning_content=piece)) for piece in _pieces(event.text))
            case CallDelta():
                parts.extend(self.chunk(Delta(tool_calls=[delta])) for delta in _call_deltas(event))
            case ToolStarted() | ToolProgressed() | ToolFinished():
                self._shown.end_round()  # the model is silent while tools run
                self._status(event, parts)
            case RefusalDelta():
                parts.append(self.chunk(Delta(refusal=event.text)))
            case Annotated():
                parts.append(self.chunk(Delta(annotations=Raw(event.annotations))))
            case LoopEnded():
                self._end(event, parts)

    def _status(self, event: ToolEvent, parts: list[bytes]) -> None:
        if self._progress == "reasoning":
            parts.append(self.chunk(Delta(reasoning_content=status_line(event) + "\n")))
        elif self._progress == "openwebui":
            data = {"description": status_line(event), "done": isinstance(event, ToolFinished)}
            parts.append(self.chunk(Delta(), event=Raw(_encode({"type": "status", "data": data}))))

    def _end(self, event: LoopEnded, parts: list[bytes]) -> None:
        if rest := self._shown.finish():
            parts.append(self._head + _encode(rest) + self._tail)
        # Open WebUI cannot ask for usage, and takes it from any chunk that has choices
        on_finish = self._progress == "openwebui" and not self._include_usage
        parts.append(self.chunk(Delta(), event.reason, usage=event.usage if on_finish else UNSET))
        if self._include_usage:
            last = Chunk(self._id, "chat.completion.chunk", self._created, self._model, [], event.usage)
            parts.append(sse_data(_encode(last)))
        parts.append(SSE_DONE)


def _pieces(text: str) -> Iterable[str]:
    """`text` in pieces that fit into an event each; almost always the one that it is."""
    return (text,) if len(text) <= PIECE else (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def _call_deltas(event: CallDelta) -> Iterable[ToolCallDelta]:
    if event.id:
        yield ToolCallDelta(event.position, event.id, "function", FunctionDelta(name=event.name, arguments=""))
    if event.arguments:
        for piece in _pieces(event.arguments):
            yield ToolCallDelta(event.position, function=FunctionDelta(arguments=piece))


class CompletionWriter:
    """Gathers what the loop says into one completion."""

    def __init__(self, *, progress: ProgressMode = "none", strips_thoughts: bool = False) -> None:
        self._progress = progress
        self._shown = ShownText(strips_thoughts=strips_thoughts)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[tuple[str, str, list[str]]] = []
        self._annotations = b""
        self._logprobs = b""
        self._ended: LoopEnded | None = None

    def add(self, events: Iterable[LoopEvent]) -> None:
        """Take a batch of events."""
        for event in events:
            match event:
                case TextDelta():
                    self._text.append(self._shown.feed(event.text))
                    self._logprobs = event.logprobs
                case ReasoningDelta():
                    self._reasoning.append(event.text)
                case CallDelta():
                    self._add_call(event)
                case ToolStarted() | ToolProgressed() | ToolFinished():
                    self._shown.end_round()
                    if self._progress == "reasoning":
                        self._reasoning.append(status_line(event) + "\n")
                case RefusalDelta():
                    self._refusal.append(event.text)
                case Annotated():
                    self._annotations = event.annotations
                case LoopEnded():
                    self._ended = event

    def _add_call(self, event: CallDelta) -> None:
        if event.id:
            self._calls.append((event.id, event.name, []))
        self._calls[event.position][2].append(event.arguments)

    def completion(self, answer_id: str, created: int, model: str) -> bytes:
        """The body of the answer."""
        assert self._ended is not None
        text = "".join(self._text) + self._shown.finish()
        message = AssistantMessage("assistant", text if text or not self._calls else None)
        if self._reasoning:
            message.reasoning_content = "".join(self._reasoning)
        if self._refusal:
            message.refusal = "".join(self._refusal)
        if self._annotations:
            message.annotations = Raw(self._annotations)
        if self._calls:
            message.tool_calls = [
                ToolCall(call_id, FunctionCall(name, "".join(arguments) or "{}"))
                for call_id, name, arguments in self._calls
            ]
        choice = Choice(0, message, self._ended.reason, Raw(self._logprobs) if self._logprobs else None)
        usage: Usage = self._ended.usage
        return _encode(Completion(answer_id, "chat.completion", created, model, [choice], usage))
