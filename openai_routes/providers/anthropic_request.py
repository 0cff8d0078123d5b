"""A turn in the chat shape → the body of `POST /messages` (Anthropic Messages API, version 2023-06-01). Pure.

System and developer messages become `system`, neighbouring messages of one role become one turn, tool messages become
`tool_result` blocks. What the Messages API has no place for is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from openai_routes.tool_names import FOREIGN
from openai_routes.tool_results import ERROR_PREFIX
from openai_routes.turn import Message, TurnRequest

MAX_TOKENS: Final = 8192
EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
PASSED: Final = ("temperature", "top_p", "top_k", "thinking", "service_tier")
Block = dict[str, Any]


def encode_request(request: TurnRequest) -> bytes:
    """The request body; what the operator merges goes last."""
    fields = {name: _decoded(raw) for name, raw in request.fields.items()}
    decoded = [(msgspec.json.decode(message.raw), message.native) for message in request.messages]
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": fields.get("max_completion_tokens") or fields.get("max_tokens") or MAX_TOKENS,
        "messages": _turns(decoded),
        "stream": request.stream,
    }
    if system := _system(message for message, _ in decoded):
        body["system"] = system
    body.update({name: fields[name] for name in PASSED if fields.get(name) is not None})
    if isinstance(stop := fields.get("stop"), str | list) and stop:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if isinstance(user := fields.get("user"), str):
        body["metadata"] = {"user_id": user}
    if output := _output(fields):
        body["output_config"] = output
    thinks = _thinks(body, request.extra)
    tools = [tool for raw in request.tools if (tool := _tool(raw)) is not None] or _tools_in(request.messages)
    if tools:
        body["tools"] = tools
        if choice := _choice(request.tool_choice, fields.get("parallel_tool_calls"), thinks=thinks):
            body["tool_choice"] = choice
    body.update((name, value) for name, value in request.extra.items() if name not in ("messages", "stream"))
    return msgspec.json.encode(body)


def _decoded(raw: Raw) -> Any:
    return msgspec.json.decode(raw)


def _thinks(body: dict[str, Any], extra: Mapping[str, object]) -> bool:
    """Whether the model thinks aloud; then it can neither be forced to a tool nor be given a temperature."""
    thinking = extra.get("thinking", body.get("thinking"))
    if not isinstance(thinking, dict) or thinking.get("type") == "disabled":
        return False
    body.pop("temperature", None)
    body.pop("top_k", None)
    return True


def _output(fields: Mapping[str, Any]) -> Block:
    output: Block = {}
    if fields.get("reasoning_effort") in EFFORTS:
        output["effort"] = fields["reasoning_effort"]
    wanted = fields.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema" and isinstance(wanted.get("json_schema"), dict):
        output["format"] = {"type": "json_schema", "schema": wanted["json_schema"].get("schema", {})}
    return output


def _system(messages: Iterator[Any]) -> list[Block]:
    blocks: list[Block] = []
    for message in messages:
        if isinstance(message, dict) and message.get("role") in ("system", "developer"):
            blocks.extend(block for block in _content(message.get("content")) if block["type"] == "text")
    return blocks


def _turns(messages: Sequence[tuple[Any, bytes | None]]) -> list[Block]:
    turns: list[Block] = []
    for message, native in messages:
        role, blocks = _blocks(message, native)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        # results go before anything else that the user says in the same turn
        turn["content"].sort(key=lambda block: turn["role"] == "user" and block["type"] != "tool_result")
    if turns and turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "(the conversation goes on)"}]})
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        turns[-1]["content"][-1]["text"] = turns[-1]["content"][-1]["text"].rstrip() or "…"
    return turns


def _blocks(message: Any, native: bytes | None) -> tuple[str, list[Block]]:
    if not isinstance(message, dict):
        return "user", []
    match message.get("role"):
        case "assistant":
            return "assistant", msgspec.json.decode(native) if native else _assistant(message)
        case "tool" | "function":
            return "user", [_tool_result(message)]
        case "system" | "developer":
            return "user", []
    return "user", _content(message.get("content"))


def _assistant(message: Block) -> list[Block]:
    blocks = [block for block in _content(message.get("content")) if block["type"] == "text"]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            blocks.append(
                {
                    "type": "tool_use",
                    "id": tool_id(str(call.get("id", ""))),
                    "name": str(function.get("name", "")),
                    "input": object_of(function.get("arguments")),
                }
            )
    return blocks


def _tool_result(message: Block) -> Block:
    content = _content(message.get("content"))
    block: Block = {
        "type": "tool_result",
        "tool_use_id": tool_id(str(message.get("tool_call_id", ""))),
        "content": content,
    }
    if content and content[0].get("text", "").startswith(ERROR_PREFIX):
        block["is_error"] = True
    return block


def tool_id(given: str) -> str:
    """An id as the API takes it: letters, digits, `_` and `-` only."""
    return FOREIGN.sub("_", given) or "_"


def object_of(arguments: Any) -> Block:
    """The arguments of a call as an object; what is none is kept under one key: the model sees what it wrote."""
    if isinstance(arguments, dict):
        return arguments
    text = arguments if isinstance(arguments, str) else ""
    if not text.strip():
        return {}
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return {"invalid_json": text}
    return decoded if isinstance(decoded, dict) else {"invalid_json": text}


def _content(content: Any) -> list[Block]:
    """Content blocks from text or parts; empty text, which the API refuses, is left out."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if not isinstance(content, list):
        return []
    return [block for part in content if isinstance(part, dict) and (block := _part(part)) is not None]


def _part(part: Block) -> Block | None:
    block: Block | None = None
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)} if text.strip():
            block = {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)} if text.strip():
            block = {"type": "text", "text": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            block = {"type": "image", "source": _source(url)}
        case {"type": "file", "file": {"file_data": str(url)}} if url.startswith("data:"):
            block = {"type": "document", "source": _source(url)}
        case {"type": "input_audio"}:
            block = {"type": "text", "text": "[audio that cannot be shown]"}
    if block is not None and isinstance(cache := part.get("cache_control"), dict):
        block["cache_control"] = cache
    return block


def _source(url: str) -> Block:
    """An image or document by URL, or by the base64 data that a `data:` URL holds (RFC 2397)."""
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, _, data = url[5:].partition(",")
    return {"type": "base64", "media_type": head.partition(";")[0] or "image/png", "data": data}


def _tool(raw: Raw) -> Block | None:
    tool = msgspec.json.decode(raw)
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return None
    found: Block = {
        "name": function.get("name", ""),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description"):
        found["description"] = function["description"]
    if function.get("strict") is True:
        found["strict"] = True
    if isinstance(cache := tool.get("cache_control"), dict):
        found["cache_control"] = cache
    return found


def _tools_in(messages: Sequence[Message]) -> list[Block]:
    """Tools that the history speaks of, where none is declared: the API refuses calls of unknown tools."""
    names: dict[str, None] = {}
    for message in messages:
        if b'"tool_calls"' not in message.raw:
            continue
        for call in msgspec.json.decode(message.raw).get("tool_calls") or ():
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                names[str(call["function"].get("name", ""))] = None
    return [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names if name]


def _choice(raw: bytes | None, parallel: Any, *, thinks: bool) -> Block | None:
    wanted = msgspec.json.decode(raw) if raw is not None else None
    choice: Block
    match wanted:
        case "none":
            return {"type": "none"}
        case "required" if not thinks:
            choice = {"type": "any"}
        case {"type": "function", "function": {"name": str(name)}} if not thinks:
            choice = {"type": "tool", "name": name}
        case _:
            choice = {"type": "auto"}
    if parallel is False:
        choice["disable_parallel_tool_use"] = True
    return choice if len(choice) > 1 or choice["type"] != "auto" else None
