"""The reply of a service → the result of a tool call. Its status and body decide; nothing of our side is added."""

import base64
from typing import Final, Literal, NamedTuple
from urllib.parse import quote as quote_url

import msgspec
from msgspec import Raw

from gateway_proxy.backends.envelope import one_line, quote
from gateway_proxy.backends.openapi.plan import Operation, Output
from gateway_proxy.domain.errors import ResultTooLarge

BODY_LIMIT: Final = 10 * 1024 * 1024
RESULT_LIMIT: Final = 10 * 1024 * 1024
ERROR_TEXT: Final = 64 * 1024
_TEXT_KINDS: Final = frozenset(
    {
        "application/xml", "application/yaml", "application/x-yaml", "application/javascript", "application/x-ndjson",
        "application/jsonl", "application/json-seq", "application/graphql", "application/sql", "application/toml",
        "application/x-www-form-urlencoded",
    }
)  # fmt: skip
_CHARSETS: Final = frozenset(
    {
        "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-15", "windows-1250", "windows-1251",
        "windows-1252", "utf-16", "utf-16le", "utf-16be", "shift_jis", "euc-jp", "euc-kr", "gbk", "gb2312", "gb18030",
        "big5", "koi8-r",
    }
)  # fmt: skip
TOLD_HEADERS: Final = ("location", "allow", "retry-after")
HEAD_HEADERS: Final = ("content-type", "content-length", "last-modified", "etag", *TOLD_HEADERS)

_BOM: Final = b"\xef\xbb\xbf"
_json: Final = msgspec.json.Decoder(Raw)

Kind = Literal["json", "text", "image", "audio", "binary"]


class Answer(NamedTuple):
    """A reply read to its end. `media_type` is bare and lower case; `headers` are lines for a terse result."""

    status: int
    media_type: str
    charset: str
    body: bytes
    headers: tuple[str, ...] = ()


def write_result(operation: Operation, backend: str, answer: Answer) -> bytes:
    """The `result` of tools/call as raw JSON.

    Raises:
        ResultTooLarge: It is over the limit for results.
    """
    if answer.status >= 400:
        result = write_error(_error_text(answer))
    elif not answer.body:
        lines = "\n".join((f"HTTP {answer.status}, without content.", *answer.headers))
        result = _of_text(lines, operation.output)
    else:
        result = _of_body(operation, backend, answer)
    if len(result) > RESULT_LIMIT:
        raise ResultTooLarge(backend, RESULT_LIMIT)
    return result


def write_error(text: str) -> bytes:
    """A result that says isError."""
    return b'{"content":[{"type":"text","text":%b}],"isError":true}' % quote(text)


def read_head(status: int, content_type: str | None, body: bytes, headers: tuple[str, ...] = ()) -> Answer:
    """An answer with its Content-Type taken apart."""
    kind, _, parameters = (content_type or "").partition(";")
    charset = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return Answer(status, kind.strip().lower()[:200], charset, body, headers)


def _of_body(operation: Operation, backend: str, answer: Answer) -> bytes:
    kind = _kind_of(answer)
    if kind == "json":
        result = _of_json(operation.output, answer.body)
        if result is not None:
            return result
        kind = "text"
    if kind == "text":
        return _of_text(_decode(answer), operation.output)
    data = base64.b64encode(answer.body)
    if len(data) > RESULT_LIMIT:
        raise ResultTooLarge(backend, RESULT_LIMIT)
    media_type = quote(answer.media_type or "application/octet-stream")
    if kind in ("image", "audio"):
        block = b'{"type":"%b","data":"%b","mimeType":%b}' % (kind.encode(), data, media_type)
    else:
        uri = quote(f"openapi://{quote_url(backend, safe='')}/{quote_url(operation.name, safe='')}")
        block = b'{"type":"resource","resource":{"uri":%b,"mimeType":%b,"blob":"%b"}}' % (uri, media_type, data)
    return _with_promise(block, operation.output)


def _of_json(output: Output, body: bytes) -> bytes | None:
    """A JSON body as text and as structuredContent; None when it is not JSON after all."""
    body = body.removeprefix(_BOM).strip(b" \t\r\n")
    try:
        _json.decode(body)
        text = body.decode("utf-8")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    block = b'{"type":"text","text":%b}' % quote(text)
    is_object = body.startswith(b"{")
    if output == "wrapped":
        structured = b'{"result":%b}' % one_line(body)
    elif is_object:
        structured = one_line(body)
    else:
        return _with_promise(block, output)
    return b'{"content":[%b],"structuredContent":%b,"isError":false}' % (block, structured)


def _of_text(text: str, output: Output) -> bytes:
    return _with_promise(b'{"type":"text","text":%b}' % quote(text), output)


def _with_promise(block: bytes, output: Output) -> bytes:
    """A result without structuredContent. Where that was promised the service broke its word, and clients must know:
    a result that is no error and lacks it is invalid (2025-11-25, Output Schema)."""
    if output == "any":
        return b'{"content":[%b],"isError":false}' % block
    warning = quote("The service did not answer with the JSON that its OpenAPI document promises. It answered:")
    return b'{"content":[{"type":"text","text":%b},%b],"isError":true}' % (warning, block)


def _kind_of(answer: Answer) -> Kind:
    kind = answer.media_type
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return "json"
    if kind.startswith("text/") or kind in _TEXT_KINDS or kind.endswith(("+xml", "+yaml")):  # SVG is for reading
        return "text"
    if kind.startswith("image/"):
        return "image"
    if kind.startswith("audio/"):
        return "audio"
    return "json" if not kind and answer.body.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[") else _undeclared(answer)


def _undeclared(answer: Answer) -> Kind:
    if answer.media_type:
        return "binary"
    try:
        answer.body.decode("utf-8")
    except UnicodeDecodeError:
        return "binary"
    return "text"


def _decode(answer: Answer) -> str:
    charset = answer.charset if answer.charset in _CHARSETS else "utf-8"
    return answer.body.decode(charset, "replace").removeprefix("\ufeff")


def _error_text(answer: Answer) -> str:
    """Status and body for the model: the service's own explanation is what it can act upon."""
    lines = [f"HTTP {answer.status}", *answer.headers]
    if _kind_of(answer) in ("json", "text") and answer.body:
        text = _decode(answer._replace(body=answer.body[:ERROR_TEXT]))
        lines.append(text if len(answer.body) <= ERROR_TEXT else f"{text}…")
    elif answer.body:
        lines.append(f"({len(answer.body)} bytes of {answer.media_type or 'unknown content'})")
    return "\n".join(lines)
