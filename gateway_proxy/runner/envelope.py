"""JSON-RPC envelopes as bytes: only the members that the runner must change are touched, all others stay as they came.

A message is a dict from member name to raw JSON, so unknown members survive in their order (relay.md 1). Nothing
here knows what a method means.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from gateway_proxy.domain.surrogates import replace_lone_surrogates

Envelope: TypeAlias = dict[str, msgspec.Raw]
Kind = Literal["request", "notification", "response"]

_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode
_PARAMS_START: Final = b"{"
_DIGITS: Final = tuple(bytes([digit]) for digit in b"0123456789")


class NotAnEnvelope(ValueError):
    """The bytes are no JSON object that JSON-RPC 2.0 knows."""


def read_envelope(raw: bytes) -> Envelope:
    """Decode the outermost object of one message. Half a character in a text becomes U+FFFD.

    Raises:
        NotAnEnvelope: Not UTF-8, not JSON, not an object, nested beyond reason, or not `"jsonrpc": "2.0"`.
    """
    try:
        if not raw.isascii():
            raw.decode("utf-8")
        envelope = _decode_object(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        mended = replace_lone_surrogates(raw)
        if mended is raw:
            raise NotAnEnvelope from error
        return read_envelope(mended)
    version = envelope.get("jsonrpc")
    if version is None or bytes(version) != b'"2.0"':
        raise NotAnEnvelope
    return envelope


def write_envelope(envelope: Envelope) -> bytes:
    """The message as one line: newlines can only be white space between tokens, so blanks replace them."""
    return flatten(_encode(envelope))


def flatten(raw: bytes) -> bytes:
    """JSON without line ends (JSON strings cannot hold them raw), fit for a stdio line and for an SSE data field."""
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")
    return raw


def kind_of(envelope: Envelope) -> Kind:
    """Tell the three message kinds apart (JSON-RPC 2.0 §4, §5).

    Raises:
        NotAnEnvelope: It is none of them, or a request id that is neither string nor number.
    """
    identified = "id" in envelope
    if "method" in envelope:
        if not identified:
            return "notification"
        _check_id(bytes(envelope["id"]))
        return "request"
    if identified and ("result" in envelope) != ("error" in envelope):
        return "response"
    raise NotAnEnvelope


def method_of(envelope: Envelope) -> str:
    """The method name. Raises NotAnEnvelope when it is no string."""
    try:
        return _decode_string(envelope["method"])
    except msgspec.MsgspecError as error:
        raise NotAnEnvelope from error


def params_of(envelope: Envelope) -> Envelope | None:
    """The members of `params`, None when there are none or when they are an array."""
    params = envelope.get("params")
    if params is None or not bytes(params).startswith(_PARAMS_START):
        return None
    return _decode_object(params)


def integer_of(raw: msgspec.Raw) -> int | None:
    """The value of a raw JSON integer, also when a child sends ours back as a string; None for anything else."""
    text = bytes(raw).strip(b'"')
    return int(text) if text.isdigit() and len(text) <= 18 else None


def raw_number(number: int) -> msgspec.Raw:
    """An integer as raw JSON."""
    return msgspec.Raw(b"%d" % number)


def find_meta(params: Envelope | None) -> Envelope | None:
    """The members of `params._meta`, None when there is no such object."""
    meta = params.get("_meta") if params is not None else None
    if meta is None or not bytes(meta).startswith(_PARAMS_START):
        return None
    return _decode_object(meta)


def replace_params(envelope: Envelope, params: Envelope) -> None:
    """Put changed `params` back into their envelope."""
    envelope["params"] = msgspec.Raw(_encode(params))


def replace_meta(params: Envelope, meta: Envelope) -> None:
    """Put a changed `_meta` back into its `params`."""
    params["_meta"] = msgspec.Raw(_encode(meta))


def may_hold(raw: msgspec.Raw | None, name: bytes) -> bool:
    """False only when the JSON surely has no member `name`: it may also be spelt with unicode escapes."""
    if raw is None:
        return False
    text = bytes(raw)
    return name in text or b"\\u" in text


def error_message(raw_id: bytes, code: int, message: str) -> bytes:
    """A complete JSON-RPC error response (JSON-RPC 2.0 §5.1)."""
    return _encode({"jsonrpc": "2.0", "id": msgspec.Raw(raw_id), "error": {"code": code, "message": message}})


def result_message(raw_id: bytes, result: bytes) -> bytes:
    """A complete JSON-RPC success response around a raw result."""
    return _encode({"jsonrpc": "2.0", "id": msgspec.Raw(raw_id), "result": msgspec.Raw(result)})


def _check_id(raw: bytes) -> None:
    """MCP: a request id is a string or an integer, never null."""
    if not raw.startswith((b'"', b"-", *_DIGITS)):
        raise NotAnEnvelope
