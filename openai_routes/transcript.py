"""The conversation as the provider shall see it, from the messages that the client sent.

The assistant's prompt goes first, cards become the calls they tell of, results that the client never saw are put back,
and the client's tool names become those that the provider knows. Messages without any of that stay byte for byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway_proxy.domain.tenant import TenantContext
from openai_routes.cards import Card, has_cards, split_cards
from openai_routes.chat_request import ChatRequest
from openai_routes.errors import FieldInvalid
from openai_routes.kept_turns import KeptTurn, KeptTurns
from openai_routes.tool_bridge import ToolSelection
from openai_routes.tool_names import conforming
from openai_routes.turn import Message

LOOKED_UP: Final = 64


class _Function(msgspec.Struct):
    name: str = ""
    arguments: Any = ""


class _Call(msgspec.Struct):
    id: str = ""
    function: _Function | None = None


class _Calling(msgspec.Struct):
    tool_calls: list[_Call] | None = None


_calling: Final = msgspec.json.Decoder(_Calling)


@dataclass(frozen=True, slots=True)
class _Turns:
    """What is needed to put a conversation back together."""

    selection: ToolSelection
    kept: Mapping[str, KeptTurn]
    provider: str
    has_tools: bool


async def build_transcript(
    ctx: TenantContext,
    request: ChatRequest,
    *,
    system_prompt: str,
    note: str = "",
    selection: ToolSelection,
    turns: KeptTurns,
    provider: str,
) -> tuple[Message, ...]:
    """The messages for the provider. `provider` is the id of the one that will read them.

    The assistant's prompt gives way to one of the client (compatibility D4); `note` is added to whichever there is.

    Raises:
        FieldInvalid: A message cannot be read.
    """
    calling: dict[int, list[_Call]] = {}
    for index, role in enumerate(request.roles):
        if role == "assistant" and b'"tool_calls"' in bytes(request.messages[index]):
            calling[index] = _calls_of(request.messages[index], index)
    ids = [call.id for calls in calling.values() for call in calls if call.id][-LOOKED_UP:]
    context = _Turns(selection, await turns.find(ctx, ids) if ids else {}, provider, bool(selection.tools))
    messages: list[Message] = []
    prompt_at = next((at for at, role in enumerate(request.roles) if role in ("system", "developer")), None)
    if prompt_at is None and (prompt := f"{system_prompt}\n\n{note}".strip("\n") if note else system_prompt):
        messages.append(Message(msgspec.json.encode({"role": "system", "content": prompt})))
    for index, raw in enumerate(request.messages):
        if index == prompt_at and note:
            messages.append(_with_note(raw, note))
        elif index in calling:
            if kept := _kept_of(calling[index], context):
                _drop_said(messages, kept)
            messages.extend(_with_calls(raw, calling[index], context))
        elif request.roles[index] == "assistant" and has_cards(bytes(raw)):
            messages.extend(_without_cards(raw, context))
        else:
            messages.append(Message(bytes(raw)))
    return tuple(messages)


def _with_note(raw: Raw, note: str) -> Message:
    """A system message with a line added: some models take only one such message."""
    message = msgspec.json.decode(raw)
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = [*content, {"type": "text", "text": note}]
    else:
        message["content"] = f"{content}\n\n{note}" if content else note
    return Message(msgspec.json.encode(message))


def _calls_of(raw: Raw, index: int) -> list[_Call]:
    try:
        return _calling.decode(raw).tool_calls or []
    except (msgspec.DecodeError, RecursionError):
        raise FieldInvalid(f"messages[{index}].tool_calls", "an array of tool calls") from None


def _kept_of(calls: Sequence[_Call], context: _Turns) -> KeptTurn | None:
    return next((context.kept[call.id] for call in calls if call.id in context.kept), None)


def _drop_said(messages: list[Message], kept: KeptTurn) -> None:
    """Take away what stands in `kept` too: in the Responses API, texts of earlier rounds are messages of their own."""
    texts = {_said(message) for message in kept.messages} - {""}
    while messages and _said(messages[-1]) in texts:
        messages.pop()


def _said(message: Message) -> str:
    """The text of an assistant's message; empty when it is none."""
    decoded = msgspec.json.decode(message.raw)
    content = decoded.get("content")
    return content if decoded.get("role") == "assistant" and isinstance(content, str) else ""


def _with_calls(raw: Raw, calls: Sequence[_Call], context: _Turns) -> Iterator[Message]:
    """An assistant's message with calls: what was kept in its place, else the message with names and arguments put
    right."""
    kept = _kept_of(calls, context)
    if kept is not None:
        is_own = kept.provider == context.provider
        yield from (message if is_own else Message(message.raw) for message in kept.messages)
        return
    functions = [call.function or _Function() for call in calls]
    if all(context.selection.sent_name(f.name) == f.name and f.arguments for f in functions):
        yield Message(bytes(raw))
        return
    message = msgspec.json.decode(raw)
    for call in message["tool_calls"]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        function["name"] = context.selection.sent_name(str(function.get("name", "")))
        if not function.get("arguments"):
            function["arguments"] = "{}"
    yield Message(msgspec.json.encode(message))


def _without_cards(raw: Raw, context: _Turns) -> Iterator[Message]:
    """The messages that an assistant's text with cards stands for."""
    message = msgspec.json.decode(raw)
    content = message.get("content")
    if not isinstance(content, str):
        yield Message(bytes(raw))
        return
    text, cards = "", list[Card]()
    for piece in split_cards(content):
        if isinstance(piece, Card):
            cards.append(piece)
            continue
        if cards:
            yield from _card_messages(text, cards, context)
            text, cards = "", []
        text = f"{text}\n\n{piece}" if text else piece
    if cards:
        yield from _card_messages(text, cards, context)
    elif text:
        yield Message(msgspec.json.encode({**message, "content": text}))


def _card_messages(text: str, cards: Sequence[Card], context: _Turns) -> Iterator[Message]:
    if not context.has_tools:  # a provider may refuse calls where no tool is declared
        if text:
            yield Message(msgspec.json.encode({"role": "assistant", "content": text}))
        return
    ids = [_card_id(card, index) for index, card in enumerate(cards)]
    calls = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": conforming(card.name), "arguments": _object_text(card.arguments)},
        }
        for call_id, card in zip(ids, cards, strict=True)
    ]
    yield Message(msgspec.json.encode({"role": "assistant", "content": text or None, "tool_calls": calls}))
    for call_id, card in zip(ids, cards, strict=True):
        yield Message(msgspec.json.encode({"role": "tool", "tool_call_id": call_id, "content": _unquoted(card.result)}))


def _card_id(card: Card, index: int) -> str:
    """The same id on every turn, so that a provider's prompt cache goes on matching."""
    told = "\0".join((str(index), card.id, card.name, card.arguments, card.result))
    return "call_" + sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _object_text(arguments: str) -> str:
    """The JSON text of a card's arguments; Open WebUI writes it as a JSON string around JSON."""
    text = _unquoted(arguments)
    try:
        return text if isinstance(msgspec.json.decode(text), dict) else "{}"
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return "{}"


def _unquoted(text: str) -> str:
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text
    return decoded if isinstance(decoded, str) else text
