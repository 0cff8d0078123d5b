"""JSON-RPC messages as bytes, put together around raw JSON that is not looked at. No HTTP and no meaning here."""

from typing import Final

import msgspec

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
UNAVAILABLE: Final = -32000
TIMED_OUT: Final = -32001
MISBEHAVED: Final = -32003
TOO_LARGE: Final = -32004
RESOURCE_NOT_FOUND: Final = -32002
CREDENTIALS_REFUSED: Final = -32005
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
REQUEST_CANCELLED: Final = -32800

NO_ID: Final = b"null"

_encode: Final = msgspec.json.Encoder().encode


def result_message(request_id: bytes, result: bytes) -> bytes:
    """The response to a request; `request_id` is the id as the client wrote it."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request_id, result)


def members_message(request_id: bytes, *pieces: bytes) -> bytes:
    """The response whose result is the object of these members, which may be long: they are copied once."""
    return b"".join((b'{"jsonrpc":"2.0","id":', request_id, b',"result":{', *pieces, b"}}"))


def error_message(request_id: bytes, code: int, message: str, data: bytes | None = None) -> bytes:
    """The error response to a request; `data` is raw JSON."""
    tail = b"" if data is None else b',"data":' + data
    return b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":%b%b}}' % (request_id, code, _encode(message), tail)


def notification_message(method: str, params: bytes) -> bytes:
    """A notification; empty `params` are left out."""
    tail = b',"params":' + params if params else b""
    return b'{"jsonrpc":"2.0","method":%b%b}' % (_encode(method), tail)


def to_json(value: object) -> bytes:
    """Our own small values, encoded."""
    return _encode(value)
