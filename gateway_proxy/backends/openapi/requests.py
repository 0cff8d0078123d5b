"""The arguments of a tool call → one HTTP request under the service's base path. Pure; nothing is sent here."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from gateway_proxy.backends.envelope import Fields, write_fields
from gateway_proxy.backends.openapi.paths import PathUnusable, build_path, encode_segment
from gateway_proxy.backends.openapi.plan import Body, Operation, Parameter, Place, Style
from gateway_proxy.backends.openapi.styles import (
    ValueUnusable,
    json_text,
    write_label,
    write_matrix,
    write_pairs,
    write_simple,
)

MAX_TARGET: Final = 16 * 1024
MAX_HEADER: Final = 8 * 1024
T = TypeVar("T")
_NULL: Final = b"null"
_PLAIN: Final = Style("plain", explode=True)


class ArgumentFault(Exception):
    """The arguments do not fit the tool; the argument is a sentence for the model, naming the one at fault."""


class HttpCall(NamedTuple):
    """One request: `target` is path and query, `headers` are those that the arguments and the body add."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def write_call(operation: Operation, prefix: str, arguments: Fields, cookies: str = "") -> HttpCall:
    """The request for a call. `cookies` is the Cookie header of the definition, which keeps its place.

    Raises:
        ArgumentFault: A required argument is missing, or one cannot be sent.
    """
    _check_names(operation, arguments)
    given = {
        parameter.argument: _decode(parameter.argument, arguments[parameter.argument])
        for parameter in operation.parameters
        if parameter.argument in arguments
    }
    target = _path(operation, prefix, given)
    query = "&".join(pair for parameter, value in _of(operation, given, "query") for pair in _pairs(parameter, value))
    if query:
        target = f"{target}?{query}"
    if len(target) > MAX_TARGET:
        raise ArgumentFault(f"The arguments make a URL of over {MAX_TARGET // 1024} KiB.")
    headers = [(parameter.name, _header(parameter, value)) for parameter, value in _of(operation, given, "header")]
    crumbs = [pair for parameter, value in _of(operation, given, "cookie") for pair in _pairs(parameter, value)]
    if crumbs:
        headers.append(("cookie", "; ".join([cookies, *crumbs] if cookies else crumbs)))
    body = b""
    if operation.body is not None:
        body = _body_of(operation, operation.body, arguments)
        if body or operation.body.required:
            headers.append(("content-type", operation.body.media_type))
    return HttpCall(operation.method, target, tuple(headers), body)


def _check_names(operation: Operation, arguments: Fields) -> None:
    sent = {parameter.argument for parameter in operation.parameters}
    missing = [
        name
        for name in operation.required
        if name not in arguments or (name in sent and bytes(arguments[name]) == _NULL)
    ]
    if missing:
        kind = "argument is" if len(missing) == 1 else "arguments are"
        raise ArgumentFault(f"A required {kind} missing: {', '.join(missing)}.")
    body = operation.body
    if body is not None and body.argument is None and body.is_open:
        return
    known = set(sent)
    if body is not None:
        known |= set(body.members) if body.argument is None else {body.argument}
    unknown = [name[:80] for name in arguments if name not in known]
    if unknown:
        takes = ", ".join(sorted(known)) or "none"
        raise ArgumentFault(f"Unknown argument: {', '.join(unknown[:5])}. This tool takes: {takes}.")


def _of(operation: Operation, given: dict[str, Any], place: Place) -> list[tuple[Parameter, Any]]:
    """The parameters of one place that have a value; an optional one that is null counts as not given."""
    return [
        (parameter, given[parameter.argument])
        for parameter in operation.parameters
        if parameter.place == place and given.get(parameter.argument) is not None
    ]


def _path(operation: Operation, prefix: str, given: dict[str, Any]) -> str:
    by_name = {parameter.name: parameter for parameter in operation.parameters if parameter.place == "path"}

    def write(name: str) -> str:
        parameter = by_name[name]
        return _guarded(parameter.argument, lambda: _segment(parameter, given.get(parameter.argument)))

    return _guarded("path", lambda: build_path(prefix, operation.path, write))


def _segment(parameter: Parameter, value: Any) -> str:
    if parameter.is_json:
        return encode_segment(json_text(value))
    if parameter.style.name == "label":
        return write_label(value, parameter.style, encode_segment)
    if parameter.style.name == "matrix":
        return write_matrix(parameter.name, value, parameter.style, encode_segment)
    written = write_simple(value, parameter.style, encode_segment)
    if not written:
        raise PathUnusable("it may not be empty")
    return written


def _pairs(parameter: Parameter, value: Any) -> list[str]:
    style = Style("json", explode=False) if parameter.is_json else parameter.style
    return _guarded(parameter.argument, lambda: write_pairs(parameter.name, value, style))


def _header(parameter: Parameter, value: Any) -> str:
    """A header's value: printable ASCII, so that it can neither end its line nor be read in two ways."""
    text = _guarded(
        parameter.argument,
        lambda: json_text(value) if parameter.is_json else write_simple(value, parameter.style, lambda each: each),
    ).strip(" ")
    if not text.isascii() or not text.isprintable() or len(text) > MAX_HEADER:
        raise ArgumentFault(f"{parameter.argument}: expected printable ASCII characters, since it is sent as a header.")
    return text


def _body_of(operation: Operation, body: Body, arguments: Fields) -> bytes:
    if body.argument is not None:
        raw = arguments.get(body.argument)
        if raw is None or (bytes(raw) == _NULL and not body.required):
            return b""
        return _whole(body, body.argument, raw)
    used = {parameter.argument for parameter in operation.parameters}
    members = {name: raw for name, raw in arguments.items() if name not in used}
    if not members and not body.required:
        return b""
    return write_fields(members) if body.kind == "json" else _form(body, members)


def _whole(body: Body, argument: str, raw: Raw) -> bytes:
    """The body as one argument: JSON byte for byte as the caller wrote it."""
    if body.kind == "json":
        return bytes(raw)
    value = _decode(argument, raw)
    if body.kind == "text":
        if not isinstance(value, str):
            raise ArgumentFault(f"{argument}: expected a string.")
        return _guarded(argument, lambda: _utf8(value))
    if not isinstance(value, dict):
        raise ArgumentFault(f"{argument}: expected an object.")
    return _form(body, {name: Raw(msgspec.json.encode(entry)) for name, entry in value.items()})


def _form(body: Body, members: Fields) -> bytes:
    pairs = [pair for name, raw in members.items() for pair in _form_pairs(body, name, raw)]
    return "&".join(pairs).encode("ascii")


def _form_pairs(body: Body, name: str, raw: Raw) -> list[str]:
    value = _decode(name, raw)
    if value is None:
        return []
    return _guarded(name, lambda: write_pairs(name, value, body.styles.get(name, _PLAIN)))


def _decode(argument: str, raw: Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise ArgumentFault(f"{argument}: it cannot be read.") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueUnusable("it is not valid Unicode") from None


def _guarded(argument: str, write: Callable[[], T]) -> T:
    """What `write` gives; its refusal with the argument's name."""
    try:
        return write()
    except (PathUnusable, ValueUnusable) as error:
        raise ArgumentFault(f"{argument}: {error}.") from None
