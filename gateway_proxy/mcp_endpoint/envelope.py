"""A POST body down to its envelope: `id`, `method` and the raw bytes of the rest (relay.md 1). Nothing is re-encoded.

What the parameters mean is for the legs and the router.
"""

import re
from typing import Final

import msgspec

from gateway_proxy.domain.surrogates import replace_lone_surrogates
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.errors import Refusal

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 4300
MAX_ID_BYTES: Final = 256
MAX_METHOD_CHARACTERS: Final = 128

_NOT_BRACKETS: Final = bytes(b for b in range(256) if b not in b'{}[]"')
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_RUN: Final = re.compile(rb"[0-9]+")
_LONG_NUMBER: Final = b"0" * (MAX_DIGITS + 1)
_DIGITS: Final = bytes(ord("0") if chr(b) in "0123456789" else b if b in b'\\"' else ord(" ") for b in range(256))


class Envelope(msgspec.Struct):
    """One JSON-RPC message. A request has `method` and `id`, a notification only `method`, a response no `method`."""

    jsonrpc: str = ""
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct):
    """As much of an envelope as it takes to answer it."""

    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def is_response(self) -> bool:
        """Whether it answers something, and so expects no answer."""
        return not (isinstance(self.result, msgspec.UnsetType) and isinstance(self.error, msgspec.UnsetType))


class Request(msgspec.Struct, frozen=True):
    """A request: `id` as the client wrote it, `params` raw (an object)."""

    id: bytes
    method: str
    params: bytes


class ClientNotification(msgspec.Struct, frozen=True):
    """A notification from the client: nobody waits for an answer."""

    method: str
    params: bytes


class ClientResponse(msgspec.Struct, frozen=True):
    """The client's answer to a request of ours; `outcome` is the whole `"result":…` or `"error":…` member."""

    id: bytes
    outcome: bytes


ClientMessage = Request | ClientNotification | ClientResponse

_decoder: Final = msgspec.json.Decoder(Envelope)
_heads: Final = msgspec.json.Decoder(_Head)


def decode_message(body: bytes) -> ClientMessage:
    """Decode one message from a POST body.

    Raises:
        Refusal: -32700 for what is not JSON in UTF-8, -32600 for what is not one JSON-RPC 2.0 message.
    """
    if not body.isascii():
        _check_utf8(body)
    try:
        return _classify(_decode(body))
    except Refusal as refusal:
        if refusal.code != wire.PARSE_ERROR:
            refusal.request_id = _find_request_id(body)
        raise


def _decode(body: bytes) -> Envelope:
    try:
        envelope = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(_explain(body, error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = replace_lone_surrogates(body)
        if mended is body:
            raise Refusal(400, wire.PARSE_ERROR, "Parse error: the body is not JSON in UTF-8") from None
        return _decode(mended)
    except RecursionError:
        raise _invalid(f"nested deeper than {MAX_DEPTH} levels") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_deeper_than(body, MAX_DEPTH):
        raise _invalid(f"nested deeper than {MAX_DEPTH} levels")
    if len(body) > MAX_DIGITS and has_long_number(body):
        raise _invalid(f"a number of more than {MAX_DIGITS} digits")
    return envelope


def is_batch(body: bytes) -> bool:
    """Whether the body is a JSON array (JSON-RPC 2.0 §6)."""
    return body.lstrip(b" \t\r\n")[:1] == b"["


def is_deeper_than(document: bytes, levels: int) -> bool:
    """Whether valid JSON nests more than `levels` deep; a few passes at the speed of C, whatever the size.

    Strings are dropped (escapes first, so that every quote left is a delimiter), then innermost pairs, level by level.
    """
    bare = document.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_SQUARE, _NOT_BRACKETS)
    brackets = b"".join(bare.split(b'"')[::2])
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def has_long_number(document: bytes) -> bool:
    """Whether valid JSON holds a number of more than `MAX_DIGITS` digits, on which some parsers choke or stall.

    So long a run of digits stands at one of every `MAX_DIGITS` + 1 bytes, so only those are looked at; a run that is
    found may still be part of a string.
    """
    step = MAX_DIGITS + 1
    for position in range(0, len(document), step):
        found = _RUN.match(document, position)
        if found is not None:
            before = document[max(0, position - MAX_DIGITS) : position]
            length = found.end() - position + len(before) - len(before.rstrip(b"0123456789"))
            if length >= step:
                return _has_long_number_outside_strings(document)
    return False


def _has_long_number_outside_strings(document: bytes) -> bool:
    bare = document.translate(_DIGITS).replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    return any(_LONG_NUMBER in part for part in bare.split(b'"')[::2])


def _classify(envelope: Envelope) -> ClientMessage:
    if envelope.jsonrpc != "2.0":
        raise _invalid('jsonrpc: expected "2.0"')
    method = envelope.method
    if method is msgspec.UNSET:
        return _as_response(envelope)
    if not method or len(method) > MAX_METHOD_CHARACTERS or not method.isprintable():
        raise _invalid(f"method: expected 1 to {MAX_METHOD_CHARACTERS} printable characters")
    params = b"{}" if envelope.params is msgspec.UNSET else bytes(envelope.params)
    if not params.startswith(b"{"):
        if params != b"null":
            raise _invalid("params: expected an object")
        params = b"{}"
    if envelope.id is msgspec.UNSET:
        return ClientNotification(method, params)
    return Request(checked_id(bytes(envelope.id)), method, params)


def _as_response(envelope: Envelope) -> ClientResponse:
    result, error = envelope.result, envelope.error
    if isinstance(result, msgspec.UnsetType) == isinstance(error, msgspec.UnsetType):
        raise _invalid("expected a method, a result or an error")
    if isinstance(envelope.id, msgspec.UnsetType):
        raise _invalid("id: missing")
    if isinstance(result, msgspec.UnsetType):
        assert not isinstance(error, msgspec.UnsetType)
        outcome = b'"error":' + bytes(error)
    else:
        outcome = b'"result":' + bytes(result)
    return ClientResponse(checked_id(bytes(envelope.id)), outcome)


def checked_id(raw: bytes) -> bytes:
    """The id, if it is a string or an integer (MCP: never null; JSON-RPC 2.0 §4: no fractions)."""
    if not (raw.isdigit() or raw.startswith(b'"') or (raw.startswith(b"-") and raw[1:].isdigit())):
        raise _invalid("id: expected a string or an integer")
    if len(raw) > MAX_ID_BYTES:
        raise _invalid(f"id: longer than {MAX_ID_BYTES} bytes")
    return raw


def _find_request_id(body: bytes) -> bytes | None:
    """The id of a request that is refused, so that its sender learns which one it was; None for anything else."""
    try:
        head = _heads.decode(body)
        if isinstance(head.id, msgspec.UnsetType) or head.is_response():
            return None
        return checked_id(bytes(head.id))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refusal):
        return None


def _check_utf8(body: bytes) -> None:
    """Raw parts are passed on unread, so bad UTF-8 has to be met here."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, wire.PARSE_ERROR, "Parse error: the body is not JSON in UTF-8") from None


def _explain(body: bytes, error: msgspec.ValidationError) -> str:
    if is_batch(body):
        return "batches are not part of this protocol version; send one message per request"
    where = str(error).rpartition("`$.")[2].rstrip("`")
    return f"{where}: of the wrong type" if where.isalpha() else "expected one JSON-RPC message, an object"


def _invalid(reason: str) -> Refusal:
    return Refusal(400, wire.INVALID_REQUEST, f"Invalid request: {reason}")
