"""Plain tree → Structs, naming everything that does not fit instead of the first thing only. Knows no particular key.

`msgspec.convert` stops at the first error; here each Struct, mapping and list is taken apart and its leaves are
converted one by one, so that every leaf still gets msgspec's checks and wording.
"""

import re
from collections.abc import Mapping
from enum import Enum
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gateway_proxy.provisioning.problems import KeyPath, Problems, quotable, suggestion
from gateway_proxy.provisioning.variables import ExpandedText

S = TypeVar("S", bound=msgspec.Struct)
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>.*)`)?$", re.DOTALL)
_FAILED: Final = object()
# Names from other configurations that are too far from ours for a spelling suggestion.
_OTHER_NAMES: Final = {
    "backend": "provider",
    "servers": "mcpServers",
    "serverUrl": "url",
    "httpUrl": "url",
    "cmd": "command",
}


def convert_struct(value: Any, struct: type[S], path: KeyPath, problems: Problems) -> S | None:
    """A `struct` from a mapping, or None when something in it does not fit (which is then in `problems`)."""
    converted = _convert(value, struct, path, problems)
    return None if converted is _FAILED else converted


def _convert(value: Any, kind: Any, path: KeyPath, problems: Problems) -> Any:
    kind = _without_none(kind, value)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _convert_fields(value, kind, path, problems)
    if get_origin(kind) is dict:
        return _convert_mapping(value, kind, path, problems)
    if get_origin(kind) is list:
        return _convert_list(value, kind, path, problems)
    return _convert_leaf(value, kind, path, problems)


def _without_none(kind: Any, value: Any) -> Any:
    """`X | None` is X for a value that is there; other unions are leaves."""
    if get_origin(kind) not in (Union, UnionType) or value is None:
        return kind
    others = [option for option in get_args(kind) if option is not type(None)]
    return others[0] if len(others) == 1 else kind


def _convert_fields(value: Any, struct: type[msgspec.Struct], path: KeyPath, problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.add(path, f"expected a mapping, got {_kind_of(value)}")
        return _FAILED
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    converted: dict[str, Any] = {}
    failed = False
    for key, entry in value.items():
        field = fields.get(key)
        if field is None:
            problems.add((*path, str(key)), "unknown key" + _hint(str(key), fields.keys()))
            failed = True
        elif entry is not None or field.required:  # an optional key with nothing behind it is as good as absent
            converted[field.name] = _convert(entry, field.type, (*path, key), problems)
    for name, field in fields.items():
        if field.required and name not in value:
            problems.add((*path, name), "required, but missing")
            failed = True
    if failed or any(entry is _FAILED for entry in converted.values()):
        return _FAILED
    return struct(**converted)


def _convert_mapping(value: Any, kind: Any, path: KeyPath, problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.add(path, f"expected a mapping, got {_kind_of(value)}")
        return _FAILED
    key_kind, entry_kind = get_args(kind)
    converted: dict[Any, Any] = {}
    for key, entry in value.items():
        name = _convert_leaf(key, key_kind, (*path, str(key)), problems)
        converted[name] = _convert(entry, entry_kind, (*path, str(key)), problems)
    return _FAILED if _FAILED in converted or any(entry is _FAILED for entry in converted.values()) else converted


def _convert_list(value: Any, kind: Any, path: KeyPath, problems: Problems) -> Any:
    if not isinstance(value, list):
        problems.add(path, f"expected a list, got {_kind_of(value)}")
        return _FAILED
    (entry_kind,) = get_args(kind)
    converted = [_convert(entry, entry_kind, (*path, number), problems) for number, entry in enumerate(value)]
    return _FAILED if any(entry is _FAILED for entry in converted) else converted


def _convert_leaf(value: Any, kind: Any, path: KeyPath, problems: Problems) -> Any:
    is_expanded = isinstance(value, ExpandedText)
    try:
        return msgspec.convert(str(value) if is_expanded else value, kind, strict=not is_expanded)
    except msgspec.ValidationError as error:
        problems.add(path, _wording(str(error), value, kind))
        return _FAILED


def _wording(message: str, value: Any, kind: Any) -> str:
    """msgspec's message with its kinds in words. Never repeats the value; a wrong choice gets the choices."""
    choices = _choices(kind)
    if choices and message.startswith("Invalid enum value"):
        return f"expected one of {', '.join(choices)}"
    match = _AT.match(message)
    text = match["what"] if match else message
    text = text[:1].lower() + text[1:].replace("`", "")
    for kind, word in (("str", "text"), ("int", "a whole number"), ("float", "a number"), ("bool", "true or false")):
        text = re.sub(rf"\b{kind}\b", word, text)
    text = text.replace("object", "a mapping").replace("array", "a list").replace("null", "nothing")
    is_scalar = isinstance(value, bool | int | float)
    return f"{text} (put it in quotes)" if is_scalar and text.startswith("expected text") else text


def _choices(kind: Any) -> list[str]:
    """What a Literal or an enum allows, also inside a union."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [choice for option in get_args(kind) for choice in _choices(option)]


def _hint(key: str, known: Any) -> str:
    other = _OTHER_NAMES.get(key)
    return f' (did you mean "{other}"?)' if other in known else suggestion(quotable(key), known)


def _kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    return {dict: "a mapping", list: "a list", str: "text", ExpandedText: "text", bool: "true or false"}.get(
        type(value), "a number"
    )
