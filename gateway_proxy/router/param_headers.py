"""`Mcp-Param-*`: arguments that a tool's schema wants repeated as headers (2026-07-28, Custom Headers).

What a client sent is held against the body, and what a backend is to get is written. Pure functions.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway_proxy.backends.splice import header_value, read_header_value
from gateway_proxy.domain.errors import HeaderMismatch

ANNOTATION: Final = "x-mcp-header"
PREFIX: Final = "mcp-param-"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_TYPES: Final = ("string", "integer", "boolean")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,400}(\.0+)?")
_DATA: Final = frozenset({"default", "examples", "const", "enum"})
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """An argument that travels as a header, too: where it is, the header's name in lower case, its JSON Schema type."""

    path: tuple[str, ...]
    name: str
    kind: str


def read_param_headers(definition: bytes) -> tuple[ParamHeader, ...]:
    """The headers that a tool's definition asks for; none if any annotation of it is not as the specification says."""
    if b'"x-mcp-header"' not in definition:
        return ()
    try:
        schema = msgspec.json.decode(definition).get("inputSchema")
    except (msgspec.MsgspecError, RecursionError, AttributeError):
        return ()
    found: list[ParamHeader] = []
    for path, annotated in _annotated(schema, (), 0):
        token, kind = annotated[ANNOTATION], annotated.get("type")
        if not path or not isinstance(token, str) or not _TOKEN.fullmatch(token) or kind not in _TYPES:
            return ()
        found.append(ParamHeader(path, PREFIX + token.lower(), kind))
    return tuple(found) if len({each.name for each in found}) == len(found) else ()


def check_param_headers(wanted: tuple[ParamHeader, ...], arguments: bytes, sent: Mapping[str, str | None]) -> None:
    """Hold the headers of a request against its arguments; `sent` has None for a header that came twice.

    Raises:
        HeaderMismatch: They differ, or one is there without the other.
    """
    values = _read(arguments)
    for each in wanted:
        rendered = _render(_find(values, each.path))
        given = sent.get(each.name)
        if rendered is None:
            if each.name in sent:
                raise HeaderMismatch(f"{each.name} is sent, and the argument {'.'.join(each.path)} is not")
        elif given is None:
            problem = "appears more than once" if each.name in sent else "is missing"
            raise HeaderMismatch(f"{each.name} {problem}")
        elif not _agrees(each, rendered, read_header_value(given)):
            raise HeaderMismatch(f"{each.name} does not match the argument {'.'.join(each.path)}")


def write_param_headers(wanted: tuple[ParamHeader, ...], arguments: bytes) -> list[tuple[str, str]]:
    """The headers for a backend."""
    values = _read(arguments)
    rendered = [(each.name, _render(_find(values, each.path))) for each in wanted]
    return [(name, header_value(text)) for name, text in rendered if text is not None]


def _annotated(
    schema: Any, path: tuple[str, ...] | None, depth: int
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every annotated schema; its path is empty unless it is reached by `properties` alone."""
    if depth > MAX_DEPTH * 2 or not isinstance(schema, dict | list):
        return
    if isinstance(schema, list):
        for item in schema:
            yield from _annotated(item, None, depth + 1)
        return
    if ANNOTATION in schema:
        yield path or (), schema
    for name, value in schema.items():
        if name == "properties" and isinstance(value, dict):
            for key, below in value.items():
                yield from _annotated(below, None if path is None else (*path, key), depth + 1)
        elif name not in _DATA:
            yield from _annotated(value, None, depth + 1)


def _read(arguments: bytes) -> Any:
    try:
        return msgspec.json.decode(arguments) if arguments else None
    except (msgspec.MsgspecError, RecursionError):
        return None


def _find(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _render(value: Any) -> str | None:
    """As a client writes it; None for nothing, null, and what no header can hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _agrees(header: ParamHeader, rendered: str, given: str | None) -> bool:
    if given is None:
        return False
    if header.kind == "integer" and _DECIMAL.fullmatch(given) and _DECIMAL.fullmatch(rendered):
        return int(given.partition(".")[0]) == int(rendered.partition(".")[0])
    return given == rendered
