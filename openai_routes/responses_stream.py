"""What the loop says, as events of the Responses API and as the response object that they end with. Shapes only.

Every event is one of ours (security.md, incident 9): typed, numbered, and about an item that was announced before.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway_proxy.domain.ids import new_id
from openai_routes.chat_stream import status_line
from openai_routes.errors import WireError
from openai_routes.shown_text import ShownText
from openai_routes.targets import ProgressMode
from openai_routes.turn import (
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
from openai_routes.wire import Usage

JSONObject = dict[str, Any]
_encode: Final = msgspec.json.Encoder().encode
INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseWriter:
    """Writes the events of one response; items are opened when something comes for them, and closed before the next."""

    def __init__(
        self,
        response_id: str,
        created: int,
        model: str,
        echoed: Mapping[str, Any],
        *,
        custom: frozenset[str] = frozenset(),
        progress: ProgressMode = "none",
        strips_thoughts: bool = False,
    ) -> None:
        self._response: JSONObject = {
            "id": response_id,
            "object": "response",
            "created_at": created,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "usage": None,
            **echoed,
        }
        self._custom = custom
        self._progress = progress
        self._shown = ShownText(strips_thoughts=strips_thoughts)
        self._frames: list[bytes] = []
        self._number = 0
        self._open: JSONObject | None = None
        self._pieces: list[str] = []  # of the open message or thought
        self._calls: dict[int, JSONObject] = {}
        self._has_begun = False

    @property
    def response(self) -> JSONObject:
        """The response object as it stands."""
        return self._response

    def frames(self, events: Iterable[LoopEvent]) -> bytes:
        """The frames of a batch of events."""
        if not self._has_begun:
            self._has_begun = True
            self._emit("response.created", response=self._response)
            self._emit("response.in_progress", response=self._response)
        for event in events:
            self._add(event)
        return self._taken()

    def failed(self, error: WireError) -> bytes:
        """The frames of a response that broke off."""
        self._close()
        self._response["status"] = "failed"
        self._response["error"] = {"code": error.code or "server_error", "message": error.message}
        self._emit("response.failed", response=self._response)
        return self._taken()

    def _taken(self) -> bytes:
        taken, self._frames = b"".join(self._frames), []
        return taken

    def _emit(self, kind: str, **fields: Any) -> None:
        payload = _encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        self._frames.append(b"event: " + kind.encode() + b"\ndata: " + payload + b"\n\n")

    def _add(self, event: LoopEvent) -> None:
        match event:
            case TextDelta():
                self._text(self._shown.feed(event.text))
            case ReasoningDelta():
                self._reasoning(event.text)
            case CallDelta():
                self._call(event)
            case ToolStarted() | ToolProgressed() | ToolFinished():
                self._shown.end_round()
                if self._progress == "reasoning":
                    self._reasoning(status_line(event) + "\n")
            case RefusalDelta():
                self._refusal(event.text)
            case LoopEnded():
                self._end(event)

    def _text(self, text: str) -> None:
        if not text:
            return
        item = self._part_of("output_text", {"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        self._pieces.append(text)
        self._emit("response.output_text.delta", **self._place(item), content_index=0, delta=text, logprobs=[])

    def _refusal(self, text: str) -> None:
        item = self._part_of("refusal", {"type": "refusal", "refusal": ""})
        self._pieces.append(text)
        self._emit("response.refusal.delta", **self._place(item), content_index=0, delta=text)

    def _part_of(self, kind: str, part: JSONObject) -> JSONObject:
        """The open message whose part is of `kind`, opened now if need be."""
        item = self._open
        if item is None or item["type"] != "message" or item["content"][0]["type"] != kind:
            item = self._begin({"id": "msg_" + new_id(), "type": "message", "role": "assistant", "content": []})
            item["content"].append(part)
            self._emit("response.content_part.added", **self._place(item), content_index=0, part=part)
        return item

    def _reasoning(self, text: str) -> None:
        item = self._open
        if item is None or item["type"] != "reasoning":
            item = self._begin({"id": "rs_" + new_id(), "type": "reasoning", "summary": []})
            item["summary"].append({"type": "summary_text", "text": ""})
            self._emit(
                "response.reasoning_summary_part.added", **self._place(item), summary_index=0, part=item["summary"][0]
            )
        self._pieces.append(text)
        self._emit("response.reasoning_summary_text.delta", **self._place(item), summary_index=0, delta=text)

    def _call(self, event: CallDelta) -> None:
        if event.id:
            shape = {"call_id": event.id, "name": event.name}
            if event.name in self._custom:
                item = {"id": "ctc_" + new_id(), "type": "custom_tool_call", **shape, "input": ""}
            else:
                item = {"id": "fc_" + new_id(), "type": "function_call", **shape, "arguments": ""}
            self._calls[event.position] = self._begin(item)
        item = self._calls[event.position]
        if item["type"] == "custom_tool_call":
            item["input"] += event.arguments
        elif event.arguments:
            item["arguments"] += event.arguments
            self._emit("response.function_call_arguments.delta", **self._place(item), delta=event.arguments)

    def _begin(self, item: JSONObject) -> JSONObject:
        if self._open is not None and self._open["type"] in ("message", "reasoning"):
            self._close_item(self._open)
        if item["type"] != "message":
            self._shown.begin_elsewhere()
        item["status"] = "in_progress"
        self._pieces = []
        self._response["output"].append(item)
        self._open = item
        self._emit("response.output_item.added", output_index=len(self._response["output"]) - 1, item=item)
        return item

    def _place(self, item: JSONObject) -> JSONObject:
        at = next(index for index, other in enumerate(self._response["output"]) if other is item)
        return {"item_id": item["id"], "output_index": at}

    def _close(self) -> None:
        """Close what is open: the last item, and every call, whose pieces may have come interleaved."""
        if self._open is not None and self._open["type"] in ("message", "reasoning"):
            self._close_item(self._open)
        for item in self._calls.values():
            self._close_item(item)
        self._open = None
        self._calls = {}

    def _close_item(self, item: JSONObject) -> None:
        place = self._place(item)
        match item["type"]:
            case "message":
                part = item["content"][0]
                if part["type"] == "output_text":
                    part["text"] = "".join(self._pieces)
                    done = {"text": part["text"], "logprobs": []}
                    self._emit("response.output_text.done", **place, content_index=0, **done)
                else:
                    part["refusal"] = "".join(self._pieces)
                    self._emit("response.refusal.done", **place, content_index=0, refusal=part["refusal"])
                self._emit("response.content_part.done", **place, content_index=0, part=part)
            case "reasoning":
                part = item["summary"][0]
                part["text"] = "".join(self._pieces)
                self._emit("response.reasoning_summary_text.done", **place, summary_index=0, text=part["text"])
                self._emit("response.reasoning_summary_part.done", **place, summary_index=0, part=part)
            case "function_call":
                item["arguments"] = item["arguments"] or "{}"
                done = {"name": item["name"], "arguments": item["arguments"]}
                self._emit("response.function_call_arguments.done", **place, **done)
            case "custom_tool_call":
                item["input"] = _free_text(item["input"])
                self._emit("response.custom_tool_call_input.delta", **place, delta=item["input"])
                self._emit("response.custom_tool_call_input.done", **place, input=item["input"])
        item["status"] = "completed"
        self._emit("response.output_item.done", output_index=place["output_index"], item=item)

    def _end(self, event: LoopEnded) -> None:
        self._text(self._shown.finish())
        self._close()
        reason = INCOMPLETE.get(event.reason)
        self._response["status"] = "completed" if reason is None else "incomplete"
        self._response["incomplete_details"] = None if reason is None else {"reason": reason}
        self._response["usage"] = _usage(event.usage)
        self._emit(f"response.{self._response['status']}", response=self._response)


def _free_text(arguments: str) -> str:
    """The text that a free-text tool gets, out of the JSON that the model wrote around it."""
    try:
        decoded = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments
    if isinstance(decoded, dict) and isinstance(decoded.get("input"), str):
        text: str = decoded["input"]
        return text
    return arguments


def _usage(usage: Usage) -> JSONObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.prompt_tokens_details.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.completion_tokens_details.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
