"""Reading a chat completion request: what must be there, what we act on, and everything else kept as bytes.

No decision about models or tools may be made here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from openai_routes.errors import BodyNotJson, FieldInvalid, FieldMissing
from openai_routes.wire import InboundMessage, StreamOptions

T = TypeVar("T")

_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_messages: Final = msgspec.json.Decoder(list[Raw])
_message: Final = msgspec.json.Decoder(InboundMessage)
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind | None) for kind in (str, bool, int, float, StreamOptions, list[Raw])
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request. `fields` is the whole outer object, the others are what we read of it.

    `roles` stands beside `messages`, so that most decisions need no second look at the message.
    """

    model: str
    messages: tuple[Raw, ...]
    roles: tuple[str, ...]
    stream: bool
    include_usage: bool
    tools: tuple[Raw, ...]
    fields: Mapping[str, Raw]


def decode_fields(body: bytes, *, expected: str) -> dict[str, Raw]:
    """The outer object of a request body.

    Raises:
        BodyNotJson: It is not a JSON object, or is nested beyond what the decoder follows.
    """
    try:
        return _fields.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BodyNotJson(expected) from None


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


_role_of: Final = msgspec.json.Decoder(_Role)


def _role(raw: Raw, index: int) -> str:
    try:
        return _role_of.decode(raw).role
    except (msgspec.DecodeError, RecursionError):
        raise FieldInvalid(f"messages[{index}]", "an object with a 'role'") from None


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
