"""JSON-RPC messages as envelopes: only what routing needs is decoded, the rest stays the bytes it came as.

No typed MCP models here: they drop what they do not know, and cost 10 to 40 times as much.
"""

from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.messages import Failure
from gateway_proxy.domain.surrogates import replace_lone_surrogates

EMPTY: Final = Raw(b"")
_LF: Final = 0x0A  # as numbers: looking for bytes in bytes makes an exception first, and costs ten times as much
_CR: Final = 0x0D
MODERN_META: Final = (
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
)


class Envelope(msgspec.Struct):
    """One incoming message: a response has `result` or `error`, a request `method` and `id`, a notification `method`.

    A member that is not there is empty; `id` is the raw JSON of a string or number.
    """

    id: Raw = EMPTY
    method: str = ""
    params: Raw = EMPTY
    result: Raw = EMPTY
    error: Raw = EMPTY


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Raw = EMPTY


class _Progress(msgspec.Struct):
    progressToken: Raw = EMPTY  # noqa: N815 - the name on the wire


_one: Final = msgspec.json.Decoder(Envelope)
_many: Final = msgspec.json.Decoder(list[Envelope])
_error: Final = msgspec.json.Decoder(_Error)
_progress: Final = msgspec.json.Decoder(_Progress)
_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_encoder: Final = msgspec.json.Encoder()

Fields = dict[str, Raw]


def read_envelopes(data: bytes) -> list[Envelope]:
    """Decode a message, or a batch of them (2025-03-26). The bytes that stay raw are checked to be JSON in UTF-8.

    Half a character, as servers write that cut text in the middle of one, becomes U+FFFD.

    Raises:
        ValueError: It is not that.
    """
    try:
        if not data.isascii():
            data.decode("utf-8")  # raw parts are not decoded, and so not checked, otherwise
        if data[:1] == b"{":
            return [_one.decode(data)]
        stripped = data.lstrip(b" \t\r\n\xef\xbb\xbf")
        return _many.decode(stripped) if stripped[:1] == b"[" else [_one.decode(stripped)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        mended = replace_lone_surrogates(data)
        if mended is data:
            raise ValueError("not a JSON-RPC message") from None
    return read_envelopes(mended)


def one_line(data: bytes) -> bytes:
    """JSON without line breaks between its tokens: an SSE or stdio frame may not have any in it."""
    if _LF in data or _CR in data:
        return msgspec.json.format(data, indent=-1)
    return data


def raw_bytes(raw: Raw) -> bytes:
    """The bytes of a raw value, on one line."""
    return one_line(bytes(raw))


def read_failure(error: Raw) -> Failure:
    """The JSON-RPC error object of a response; a malformed one becomes an internal error."""
    return find_failure(error) or Failure(-32603, "The backend answered with a malformed error.")


def find_failure(error: Raw) -> Failure | None:
    """The same; None for what is no JSON-RPC error, as other servers write `{"error":"…"}` under an error status."""
    try:
        found = _error.decode(error)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return Failure(found.code, found.message, raw_bytes(found.data) if bytes(found.data) else None)


def read_fields(value: bytes | Raw) -> Fields:
    """The members of a JSON object, each as raw bytes.

    Raises:
        ValueError: It is not an object.
    """
    try:
        if isinstance(value, bytes) and not value.isascii():
            value.decode("utf-8")  # members stay raw, and so unchecked, otherwise
        return _fields.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("not a JSON object") from None


def write_fields(fields: Fields) -> bytes:
    """The object again; each value byte for byte as it was read."""
    return _encoder.encode(fields)


def quote(text: str) -> bytes:
    """A JSON string."""
    return _encoder.encode(text)


def read_progress_token(params: Raw) -> bytes:
    """The raw progress token of a notification's params; empty when there is none."""
    try:
        return bytes(_progress.decode(params).progressToken)
    except (msgspec.MsgspecError, RecursionError):
        return b""


def write_request(request_id: bytes, method: str, params: bytes) -> bytes:
    """A JSON-RPC request; `request_id` is raw JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (request_id, quote(method), params)


def write_notification(method: str, params: bytes) -> bytes:
    """A JSON-RPC notification; with empty `params` it has none."""
    if not params:
        return b'{"jsonrpc":"2.0","method":%b}' % quote(method)
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (quote(method), params)


def write_response(request_id: bytes, outcome: bytes) -> bytes:
    """A JSON-RPC response; `outcome` is the complete `"result":…` or `"error":…` member."""
    return b'{"jsonrpc":"2.0","id":%b,%b}' % (request_id, outcome)
