"""Reading a chat completion request: what must be there, what we act on, and everything else kept as bytes.

No decision about models or tools may be made here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from gateway_proxy.domain.surrogates import replace_lone_surrogates
from openai_routes.errors import BodyNotJson, FieldInvalid, FieldMissing
from openai_routes.wire import InboundMessage, StreamOptions

T = TypeVar("T")

_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_messages: Final = msgspec.json.Decoder(list[Raw])
_message: Final = msgspec.json.Decoder(InboundMessage)
TEXT_ONLY: Final = '["text"]; an assistant does not speak'
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
CHECKED: Final[Mapping[str, tuple[Any, str]]] = {
    "temperature": (float, "a number"),
    "top_p": (float, "a number"),
    "presence_penalty": (float, "a number"),
    "frequency_penalty": (float, "a number"),
    "max_tokens": (int, "a whole number"),
    "max_completion_tokens": (int, "a whole number"),
    "seed": (int, "a whole number"),
    "logprobs": (bool, "true or false"),
    "top_logprobs": (int, "a whole number"),
    "parallel_tool_calls": (bool, "true or false"),
    "reasoning_effort": (str, "text"),
    "response_format": (dict[str, Any], "an object with a 'type'"),
    "stop": (str | list[str], "text, or an array of texts"),
}
"""Fields that pass as they are and mean the same everywhere. A wrong one is named here: some providers answer 500,
others ignore it."""
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind | None)
    for kind in (StreamOptions, list[Raw], list[str], *(kind for kind, _ in CHECKED.values()))
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request. `fields` is the whole outer object, the others are what we read of it.

    `roles` stands beside `messages`, so that most decisions need no second look at the message. `most_calls` is how
    many calls of ours the client allows in all.
    """

    model: str
    messages: tuple[Raw, ...]
    roles: tuple[str, ...]
    stream: bool
    include_usage: bool
    tools: tuple[Raw, ...]
    fields: Mapping[str, Raw]
    most_calls: int | None = None


def decode_fields(body: bytes, *, expected: str) -> dict[str, Raw]:
    """The outer object of a request body; half characters, which SDKs send for text that was cut, become U+FFFD.

    Raises:
        BodyNotJson: It is not a JSON object in UTF-8, or is nested beyond what the decoder follows.
    """
    try:
        if not body.isascii():
            body.decode()  # the values stay raw, so that the decoder does not look
        return _fields.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        mended = replace_lone_surrogates(body)
        if mended is body:
            raise BodyNotJson(expected) from None
        return decode_fields(mended, expected=expected)


def take_field(fields: Mapping[str, Raw], name: str, kind: type[T], *, expected: str) -> T | None:
    """The value of an optional field, None when it is absent or null.

    Raises:
        FieldInvalid: It is not of that kind.
    """
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        value: T | None = _decoders[kind].decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise FieldInvalid(name, expected) from None
    return value


def require_field(fields: Mapping[str, Raw], name: str, kind: type[T], *, expected: str) -> T:
    """The value of a field that must be there.

    Raises:
        FieldMissing: It is absent or null.
        FieldInvalid: It is not of that kind.
    """
    value = take_field(fields, name, kind, expected=expected)
    if value is None:
        raise FieldMissing(name, expected)
    return value


def check_kinds(fields: Mapping[str, Raw]) -> None:
    """Look at the fields that are passed on.

    Raises:
        FieldInvalid: One is of the wrong kind.
    """
    for name, (kind, expected) in CHECKED.items():
        take_field(fields, name, kind, expected=expected)


def read_chat_request(body: bytes) -> ChatRequest:
    """Decode and check a request body (OpenAI API reference, "Create chat completion").

    Raises:
        BodyNotJson: Not a JSON object.
        FieldMissing: `model` or `messages` is not there.
        FieldInvalid: A field that we read is of the wrong kind, or asks for several choices.
    """
    fields = decode_fields(body, expected="'model' and 'messages'")
    model = require_field(fields, "model", str, expected="the id of a model listed by GET /v1/models")
    if not model:
        raise FieldInvalid("model", "the id of a model listed by GET /v1/models")
    messages = require_field(fields, "messages", list[Raw], expected="a non-empty array of message objects")
    if not messages:
        raise FieldInvalid("messages", "a non-empty array of message objects")
    stream = take_field(fields, "stream", bool, expected="true or false") or False
    choices = take_field(fields, "n", int, expected="1")
    if choices not in (None, 1):
        raise FieldInvalid("n", "1; an assistant gives one choice")
    check_kinds(fields)
    if any(kind != "text" for kind in take_field(fields, "modalities", list[str], expected=TEXT_ONLY) or ()):
        raise FieldInvalid("modalities", TEXT_ONLY)
    options = take_field(fields, "stream_options", StreamOptions, expected="an object with 'include_usage'")
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        roles=tuple(_role(raw, index) for index, raw in enumerate(messages)),
        stream=stream,
        include_usage=bool(options and options.include_usage),
        tools=tuple(take_field(fields, "tools", list[Raw], expected="an array of tool objects") or ()),
        fields=fields,
    )


class _Role(msgspec.Struct):
    role: str


class _Head(_Role):
    content: str | list[Raw] | None = None


_role_of: Final = msgspec.json.Decoder(_Role)
_head_of: Final = msgspec.json.Decoder(_Head)


def _role(raw: Raw, index: int) -> str:
    try:
        role = _head_of.decode(raw).role
    except (msgspec.DecodeError, RecursionError):
        raise _unreadable(raw, index) from None
    if role not in ROLES:
        raise FieldInvalid(f"messages[{index}].role", "system, developer, user, assistant or tool")
    return role


def _unreadable(raw: Raw, index: int) -> FieldInvalid:
    try:
        _role_of.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return FieldInvalid(f"messages[{index}]", "an object with a 'role'")
    return FieldInvalid(f"messages[{index}].content", "text or an array of content parts")


def text_of(raw: Raw, index: int) -> str:
    """The text of a message, its text parts joined; other parts say nothing here.

    Raises:
        FieldInvalid: `content` is neither text nor an array of parts.
    """
    try:
        content = _message.decode(raw).content
    except (msgspec.DecodeError, RecursionError):
        raise FieldInvalid(f"messages[{index}].content", "text or an array of content parts") from None
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.type in ("text", "input_text"))
    return content or ""
