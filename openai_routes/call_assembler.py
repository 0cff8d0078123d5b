"""Puts tool calls together from the deltas that real servers send, however they number and name them.

Seen in the wild: no index, one index for all calls, ids only in the first fragment, no ids, the same ids in every
turn, whole calls in one chunk, arguments as an object, names repeated or in pieces. Pure; no provider is known here.
"""

import re
from typing import Any, Final

import msgspec

from gateway_proxy.domain.ids import new_id
from openai_routes.turn import CallDelta

RANDOM_TAIL: Final = re.compile(r"(?=(?:.*[0-9]){2})(?=.*[A-Za-z])[A-Za-z0-9]{8,64}|[0-9]{16,64}")
ID_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
SHORT_SHAPE: Final = re.compile(r"[A-Za-z0-9]{9}")  # the only shape that Mistral's API takes back


class _Call:
    __slots__ = ("arguments", "id", "index", "name", "position", "upstream_id")

    def __init__(self, position: int, index: int | None, upstream_id: str) -> None:
        self.position = position
        self.index = index
        self.upstream_id = upstream_id
        self.id = unique_id(upstream_id)
        self.name = ""
        self.arguments = ""


def unique_id(upstream_id: str) -> str:
    """The id by which client and gateway know a call: the provider's if it looks random, else one of our own.

    Ids such as `call_0` come back in every turn and every chat; results kept under them would meet the wrong call.
    """
    if ID_SHAPE.fullmatch(upstream_id) and RANDOM_TAIL.fullmatch(re.split("[_-]", upstream_id)[-1]):
        return upstream_id
    return new_id()[:9] if SHORT_SHAPE.fullmatch(upstream_id) else "call_" + new_id()[:24]


class CallAssembler:
    """The calls of one turn. `feed` takes a fragment as it came and returns it in a regular form."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._ids: set[str] = set()

    def feed(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> CallDelta:
        """Add a fragment. `arguments` is text, or whatever JSON value the server put there."""
        call = self._find(index, call_id or "", name or "")
        if name and not call.arguments:
            call.name = name if not call.name or name.startswith(call.name) else call.name + name
        piece = _as_text(arguments)
        call.arguments += piece
        return CallDelta(call.position, call.id, call.name, piece)

    def is_empty(self) -> bool:
        """Whether no call was made."""
        return not self._calls

    def _find(self, index: int | None, call_id: str, name: str) -> _Call:
        if index is not None:
            known = self._by_index.get(index)
        elif call_id:
            known = next((call for call in self._calls if call.upstream_id == call_id), None)
        else:
            known = self._calls[-1] if self._calls else None
        if known is None or _starts_another(known, call_id, name):
            return self._add(index, call_id)
        if call_id and not known.upstream_id:
            known.upstream_id = call_id
        return known

    def _add(self, index: int | None, call_id: str) -> _Call:
        call = _Call(len(self._calls), index, call_id)
        if call.id in self._ids:
            call.id = unique_id("")
        self._ids.add(call.id)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


def _starts_another(known: _Call, call_id: str, name: str) -> bool:
    """Whether a fragment that would join `known` begins a call of its own instead."""
    if call_id and known.upstream_id and call_id != known.upstream_id:
        return True
    return bool(name and not call_id and known.name and known.arguments and _is_complete(known.arguments))


def _is_complete(arguments: str) -> bool:
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _as_text(arguments: Any) -> str:
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments).decode()
