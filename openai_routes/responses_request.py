"""A request of the Responses API (OpenAI API reference, "Create a model response") as a chat request.

Items become messages, flat tools become function tools, and the parameters get the names that chat has for them.
Hosted tools (web search, code interpreter, …) are the provider's own and do not exist here: they are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from openai_routes.chat_request import ROLES, ChatRequest, check_kinds, decode_fields, require_field, take_field
from openai_routes.errors import FieldInvalid

INPUT: Final = "text, or an array of input items"
PASSED: Final = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "user",
    "service_tier",
    "prompt_cache_key",
    "safety_identifier",
    "top_logprobs",
)
REFUSED: Final = {
    "background": "false; answers are given at once",
    "conversation": "to be absent; send 'input'",
    "prompt": "to be absent; send 'instructions' and 'input'",
}
CALLS: Final = frozenset({"function_call", "custom_tool_call"})
OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
JSONObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A request for a response. `chat` is the same as a chat, without what `previous_response_id` stands for.

    `custom` are the client's tools that take free text instead of JSON. `echoed` are the fields that the response
    repeats.
    """

    chat: ChatRequest
    previous_response_id: str | None
    is_stored: bool
    custom: frozenset[str]
    echoed: Mapping[str, Any]


def read_responses_request(body: bytes) -> ResponsesRequest:
    """Decode and check a request body.

    Raises:
        BodyNotJson, FieldMissing, FieldInvalid: As for a chat.
    """
    fields = decode_fields(body, expected="'model' and 'input'")
    model = require_field(fields, "model", str, expected="the id of a model listed by GET /v1/models")
    for name, expected in REFUSED.items():
        if name in fields and msgspec.json.decode(fields[name]) not in (None, False):
            raise FieldInvalid(name, expected)
    check_kinds(fields)
    instructions = take_field(fields, "instructions", str, expected="text")
    messages = [{"role": "system", "content": instructions}] if instructions else []
    messages.extend(_messages(_items(fields)))
    tools, custom = _tools(take_field(fields, "tools", list[Raw], expected="an array of tool objects") or ())
    stream = take_field(fields, "stream", bool, expected="true or false") or False
    previous = take_field(fields, "previous_response_id", str, expected="the id of a response")
    if not messages and previous is None:
        raise FieldInvalid("input", INPUT)
    chat = ChatRequest(
        model=model,
        messages=tuple(Raw(msgspec.json.encode(message)) for message in messages),
        roles=tuple(str(message["role"]) for message in messages),
        stream=stream,
        include_usage=True,
        tools=tuple(Raw(msgspec.json.encode(tool)) for tool in tools),
        fields=_chat_fields(fields),
        most_calls=_most_calls(fields),
    )
    is_stored = take_field(fields, "store", bool, expected="true or false")
    return ResponsesRequest(chat, previous, is_stored is not False, custom, _echoed(fields))


def _most_calls(fields: Mapping[str, Raw]) -> int | None:
    """`max_tool_calls`: of the tools that are run on this side, over all rounds."""
    expected = "a whole number, 1 or more"
    most = take_field(fields, "max_tool_calls", int, expected=expected)
    if most is not None and most < 1:
        raise FieldInvalid("max_tool_calls", expected)
    return most


def _items(fields: Mapping[str, Raw]) -> Iterator[JSONObject]:
    try:
        given = msgspec.json.decode(fields.get("input", Raw(b"null")))
    except (msgspec.DecodeError, RecursionError):
        raise FieldInvalid("input", INPUT) from None
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    if not isinstance(given, list | None):
        raise FieldInvalid("input", INPUT)
    for index, item in enumerate(given or ()):
        if not isinstance(item, dict):
            raise FieldInvalid(f"input[{index}]", "an input item")
        if fault := _fault_of(item):
            raise FieldInvalid(f"input[{index}].{fault[0]}", fault[1])
        yield item


def _fault_of(item: JSONObject) -> tuple[str, str] | None:
    """The field of an item that cannot be used, and what was expected. Unknown kinds are left out, not refused."""
    kind = item.get("type", "message")
    if kind in CALLS | OUTPUTS and not isinstance(item.get("call_id"), str):
        return "call_id", "the id of a call"
    if kind in CALLS and not isinstance(item.get("name"), str):
        return "name", "the name of a tool"
    if kind != "message":
        return None
    if item.get("role") not in ROLES:
        return "role", "system, developer, user or assistant"
    return None if isinstance(item.get("content"), str | list | None) else ("content", "text or an array of parts")


def _messages(items: Iterator[JSONObject]) -> Iterator[JSONObject]:
    """Messages of the chat shape; an assistant's text and the calls behind it are one message there."""
    pending: JSONObject | None = None
    for item in items:
        call = _call_of(item)
        if call is not None:
            pending = pending or {"role": "assistant", "content": None}
            pending.setdefault("tool_calls", []).append(call)
            continue
        message = _message_of(item)
        if message is None:
            continue
        if pending is not None:
            yield pending
            pending = None
        if message["role"] == "assistant":
            pending = message
        else:
            yield message
    if pending is not None:
        yield pending


def _call_of(item: JSONObject) -> JSONObject | None:
    match item:
        case {"type": "function_call", "call_id": str(call_id), "name": str(name)}:
            arguments = item.get("arguments")
            text = arguments if isinstance(arguments, str) else "{}"
        case {"type": "custom_tool_call", "call_id": str(call_id), "name": str(name)}:
            text = msgspec.json.encode({"input": item.get("input", "")}).decode()
        case _:
            return None
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def _message_of(item: JSONObject) -> JSONObject | None:
    match item:
        case {"type": "function_call_output" | "custom_tool_call_output", "call_id": str(call_id)}:
            return {"role": "tool", "tool_call_id": call_id, "content": _text_of(item.get("output"))}
        case {"role": str(role)}:
            role = "system" if role == "developer" else role
            content = item.get("content")
            if isinstance(content, list):
                parts = [part for given in content if (part := _part(given)) is not None]
                is_text = all(part["type"] == "text" for part in parts)
                content = "\n".join(part["text"] for part in parts) if is_text else parts
            return {"role": role, "content": content}
    return None  # reasoning and hosted calls are of another provider's making


def _part(part: Any) -> JSONObject | None:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            image = {"url": url} | ({"detail": part["detail"]} if isinstance(part.get("detail"), str) else {})
            return {"type": "image_url", "image_url": image}
        case {"type": "input_file", "file_data": str(data)}:
            return {"type": "file", "file": {"file_data": data, "filename": str(part.get("filename", "file"))}}
    return None


def _text_of(output: Any) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        parts = [_part(part) for part in output]
        return "\n".join(p["text"] if p and p["type"] == "text" else "[content that is no text]" for p in parts)
    return msgspec.json.encode(output).decode()


def _tools(given: Sequence[Raw]) -> tuple[list[JSONObject], frozenset[str]]:
    tools: list[JSONObject] = []
    custom: set[str] = set()
    for index, raw in enumerate(given):
        tool = msgspec.json.decode(raw)
        match tool:
            case {"type": "function", "name": str(name)} if name:
                kept = ("name", "description", "parameters", "strict")
                function = {key: tool[key] for key in kept if tool.get(key) is not None}
                tools.append({"type": "function", "function": function})
            case {"type": "custom", "name": str(name)} if name:
                custom.add(name)
                tools.append({"type": "function", "function": _free_text_function(tool)})
            case {"type": "function" | "custom"}:
                raise FieldInvalid(f"tools[{index}].name", "a non-empty string")
            case {"type": str()}:
                continue
            case _:
                raise FieldInvalid(f"tools[{index}]", "an object with 'type' and 'name'")
    return tools, frozenset(custom)


def _free_text_function(tool: JSONObject) -> JSONObject:
    described = str(tool.get("description") or "")
    if isinstance(tool.get("format"), dict) and isinstance(tool["format"].get("definition"), str):
        described += f"\nThe input follows this grammar:\n{tool['format']['definition']}"
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    return {"name": tool["name"], "description": described.strip(), "parameters": schema}


def _chat_fields(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The parameters under the names of chat."""
    found: JSONObject = {}
    reasoning, text = _object(fields, "reasoning"), _object(fields, "text")
    if isinstance(reasoning.get("effort"), str):
        found["reasoning_effort"] = reasoning["effort"]
    if isinstance(text.get("verbosity"), str):
        found["verbosity"] = text["verbosity"]
    if (shape := _response_format(text.get("format"))) is not None:
        found["response_format"] = shape
    if (choice := _tool_choice(msgspec.json.decode(fields.get("tool_choice", Raw(b"null"))))) is not None:
        found["tool_choice"] = choice
    limit = take_field(fields, "max_output_tokens", int, expected="a whole number")
    if limit is not None:
        found["max_completion_tokens"] = limit
    chat = {name: Raw(msgspec.json.encode(value)) for name, value in found.items()}
    chat.update(
        (name, fields[name]) for name in PASSED if name in fields and len(fields[name]) and not _null(fields, name)
    )
    return chat


def _response_format(wanted: Any) -> JSONObject | None:
    match wanted:
        case {"type": "json_schema", **schema}:
            return {"type": "json_schema", "json_schema": schema}
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case None | {"type": str()}:
            return None
    raise FieldInvalid("text.format", "an object with a 'type'")


def _tool_choice(wanted: Any) -> Any:
    match wanted:
        case {"type": "function" | "custom", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "tools": list(tools), **more}:
            functions = [t for t in tools if isinstance(t, dict) and t.get("type") in ("function", "custom")]
            named = [{"type": "function", "function": {"name": str(t.get("name"))}} for t in functions]
            return {"type": "allowed_tools", "allowed_tools": {"mode": more.get("mode", "auto"), "tools": named}}
        case "auto" | "none" | "required":
            return wanted
        case None | {"type": str()}:
            return None  # a hosted tool is left out
    raise FieldInvalid("tool_choice", "'none', 'auto', 'required', or an object that names a tool")


def _null(fields: Mapping[str, Raw], name: str) -> bool:
    return msgspec.json.decode(fields[name]) is None


def _object(fields: Mapping[str, Raw], name: str) -> JSONObject:
    value = msgspec.json.decode(fields.get(name, Raw(b"null")))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldInvalid(name, "an object")
    return value


def _echoed(fields: Mapping[str, Raw]) -> JSONObject:
    """What the response repeats of the request, with the API's defaults."""
    defaults: JSONObject = {
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "user": None,
    }
    given = {name: msgspec.json.decode(fields[name]) for name in defaults if name in fields}
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}
