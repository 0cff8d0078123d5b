"""Values written as OpenAPI's styles ask for (RFC 6570 at heart). Everything given by a caller is percent-encoded."""

from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway_proxy.backends.openapi.plan import Style

_DELIMITERS: Final = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C", "simple": ","}
MAX_DEEP: Final = 5

Encode = Callable[[str], str]


class ValueUnusable(ValueError):
    """A value cannot be written in its style; the argument is one of our own phrases."""


def encode(text: str) -> str:
    """Percent-encode all but unreserved characters.

    Raises:
        ValueUnusable: It is not valid Unicode.
    """
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueUnusable("it is not valid Unicode") from None


def text_of(value: Any) -> str:
    """A single value as text: numbers and booleans as in JSON.

    Raises:
        ValueUnusable: It is an array or object, or null.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return msgspec.json.encode(value).decode()
    if value is None:
        raise ValueUnusable("it may not be null here")
    raise ValueUnusable("it may not nest arrays or objects here")


def json_text(value: Any) -> str:
    """A value as compact JSON."""
    return msgspec.json.encode(value).decode()


def write_simple(value: Any, style: Style, encoded: Encode = encode) -> str:
    """Style `simple`: the value of a path segment or a header."""
    return ",".join(_flat(value, style, encoded))


def write_label(value: Any, style: Style, encoded: Encode) -> str:
    """Style `label`: `.a.b`."""
    return "." + ("." if style.explode else ",").join(_flat(value, style, encoded))


def write_matrix(name: str, value: Any, style: Style, encoded: Encode) -> str:
    """Style `matrix`: `;name=a,b`."""
    key = encode(name)
    if style.explode and isinstance(value, list):
        return "".join(f";{key}={encoded(text_of(entry))}" for entry in value)
    if style.explode and isinstance(value, dict):
        return "".join(f";{encode(member)}={encoded(text_of(entry))}" for member, entry in value.items())
    return f";{key}=" + ",".join(_flat(value, style, encoded))


def write_pairs(name: str, value: Any, style: Style) -> list[str]:
    """The `name=value` pairs of a query, a form body or a cookie; none for an empty array or object.

    Two styles are not OpenAPI's: `json`, and `plain` for what a form says nothing about (nested values as JSON).

    Raises:
        ValueUnusable: The value does not fit the style.
    """
    if style.name == "json":
        return [f"{encode(name)}={encode(json_text(value))}"]
    if style.name == "plain":
        entries = value if isinstance(value, list) else [value]
        return [f"{encode(name)}={encode(_text_or_json(entry))}" for entry in entries]
    if style.name == "deepObject" and isinstance(value, dict):
        return _deep(encode(name), value, 0)
    if isinstance(value, list):
        if style.explode or style.name == "deepObject":
            return [f"{encode(name)}={encode(text_of(entry))}" for entry in value]
        return _joined(name, (encode(text_of(entry)) for entry in value), style)
    if isinstance(value, dict):
        if style.explode:
            return [f"{encode(member)}={encode(text_of(entry))}" for member, entry in value.items()]
        return _joined(name, _flat(value, style, encode), style)
    return [f"{encode(name)}={encode(text_of(value))}"]


def _text_or_json(value: Any) -> str:
    return json_text(value) if isinstance(value, dict | list) else text_of(value)


def _joined(name: str, parts: Iterable[str], style: Style) -> list[str]:
    joined = _DELIMITERS.get(style.name, ",").join(parts)
    return [f"{encode(name)}={joined}"] if joined else []


def _deep(prefix: str, value: dict[str, Any], depth: int) -> list[str]:
    """`filter[a][b]=c`, brackets encoded; an array repeats its key."""
    if depth > MAX_DEEP:
        raise ValueUnusable("it nests too deeply")
    pairs: list[str] = []
    for member, entry in value.items():
        key = f"{prefix}%5B{encode(member)}%5D"
        if isinstance(entry, dict):
            pairs += _deep(key, entry, depth + 1)
        elif isinstance(entry, list):
            pairs += [f"{key}={encode(text_of(each))}" for each in entry]
        elif entry is not None:
            pairs.append(f"{key}={encode(text_of(entry))}")
    return pairs


def _flat(value: Any, style: Style, encoded: Encode) -> list[str]:
    """A value as parts: an array its entries, an object `name,value` or, exploded, `name=value`."""
    if isinstance(value, list):
        return [encoded(text_of(entry)) for entry in value]
    if not isinstance(value, dict):
        return [encoded(text_of(value))]
    if style.explode:
        return [f"{encoded(name)}={encoded(text_of(entry))}" for name, entry in value.items()]
    return [part for name, entry in value.items() for part in (encoded(name), encoded(text_of(entry)))]
