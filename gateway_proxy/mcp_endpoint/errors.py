"""What a client of /mcp is told when something goes wrong: one table from reason to wire. No reason is invented here.

`Refusal` is the wire form; legs raise it for faults of the message itself, and domain errors become one by the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    CursorInvalid,
    GatewayError,
    HeaderMismatch,
    LetterTooLarge,
    LimitError,
    MethodUnknown,
    PromptUnknown,
    RateLimited,
    RelayError,
    ResourceUnknown,
    ResultTooLarge,
    SessionError,
    SessionLimitReached,
    SessionUnknown,
    StorageError,
    StorageUnavailable,
    ToolUnknown,
)
from gateway_proxy.mcp_endpoint import wire

STORAGE_RETRY_SECONDS: Final = 2.0


@dataclass(eq=False)
class Refusal(Exception):
    """A request that ends in an error. `status` is HTTP's, `code` and `message` JSON-RPC's, `data` raw JSON.

    `status` 200 is an answer like any other; the modern leg then takes its status from `MODERN_STATUS`. `request_id` is
    that of a message which is malformed elsewhere.
    """

    status: int
    code: int
    message: str
    data: bytes | None = None
    retry_after: float | None = None
    allow: str | None = None
    request_id: bytes | None = None

    def body(self, request_id: bytes) -> bytes:
        """The JSON-RPC error response."""
        return wire.error_message(request_id, self.code, self.message, self.data)


MODERN_STATUS: Final[Mapping[int, int]] = {
    wire.PARSE_ERROR: 400,
    wire.INVALID_REQUEST: 400,
    wire.INVALID_PARAMS: 400,
    wire.HEADER_MISMATCH: 400,
    -32021: 400,  # missing client capability, said by a backend
    wire.UNSUPPORTED_VERSION: 400,
    wire.METHOD_NOT_FOUND: 404,
}
"""HTTP status by JSON-RPC code on the modern leg (MCP 2026-07-28, Streamable HTTP); everything else is 200."""


def _backend_unavailable(error: BackendUnavailable) -> Refusal:
    hint = "" if error.retry_after is None else f"; try again in {max(1, round(error.retry_after))} s"
    state = "is still being started" if error.is_starting else "is not available at the moment"
    return Refusal(200, wire.UNAVAILABLE, f"The server '{error.backend}' {state}{hint}")


def _backend_timeout(error: BackendTimeout) -> Refusal:
    return Refusal(200, wire.TIMED_OUT, f"The server '{error.backend}' did not answer within {error.seconds:g} s")


def _backend_misbehaved(error: BackendMisbehaved) -> Refusal:
    return Refusal(200, wire.MISBEHAVED, f"The server '{error.backend}' broke the protocol: {error.fault}")


def _result_too_large(error: ResultTooLarge) -> Refusal:
    return Refusal(
        200, wire.TOO_LARGE, f"The answer of the server '{error.backend}' is larger than {error.limit} bytes"
    )


def _credentials_refused(error: BackendRefusedCredentials) -> Refusal:
    return Refusal(
        200, wire.CREDENTIALS_REFUSED, f"The server '{error.backend}' refuses the credentials configured for it"
    )


def _unavailable(_: GatewayError) -> Refusal:
    sentence = "The gateway's storage is not available at the moment; try again shortly"
    return Refusal(503, wire.UNAVAILABLE, sentence, retry_after=STORAGE_RETRY_SECONDS)


def _rate_limited(error: RateLimited) -> Refusal:
    return Refusal(429, wire.UNAVAILABLE, "Too many requests; try again later", retry_after=error.retry_after)


def _limit(_: GatewayError) -> Refusal:
    return Refusal(429, wire.UNAVAILABLE, "Too many requests; try again later", retry_after=1.0)


def _internal(_: GatewayError) -> Refusal:
    return Refusal(200, wire.INTERNAL_ERROR, "The gateway could not relay this request")


TABLE: Final[Mapping[type[GatewayError], Callable[..., Refusal]]] = {
    ToolUnknown: lambda error: Refusal(200, wire.INVALID_PARAMS, f"Unknown tool: {error.name}"),
    PromptUnknown: lambda error: Refusal(200, wire.INVALID_PARAMS, f"Unknown prompt: {error.name}"),
    ResourceUnknown: lambda error: Refusal(
        200, wire.INVALID_PARAMS, "Resource not found", wire.to_json({"uri": error.uri})
    ),
    MethodUnknown: lambda error: Refusal(200, wire.METHOD_NOT_FOUND, f"Method not found: {error.method}"),
    HeaderMismatch: lambda error: Refusal(400, wire.HEADER_MISMATCH, f"Header mismatch: {error.fault}"),
    CursorInvalid: lambda _: Refusal(200, wire.INVALID_PARAMS, "params.cursor: not a cursor of this list"),
    BackendUnavailable: _backend_unavailable,
    BackendTimeout: _backend_timeout,
    BackendMisbehaved: _backend_misbehaved,
    ResultTooLarge: _result_too_large,
    BackendRefusedCredentials: _credentials_refused,
    RelayError: _internal,
    SessionUnknown: lambda _: Refusal(404, wire.INVALID_REQUEST, "Session not found: initialize again"),
    SessionLimitReached: lambda error: Refusal(
        429, wire.UNAVAILABLE, f"More than {error.limit} sessions or streams are open", retry_after=5.0
    ),
    LetterTooLarge: lambda error: Refusal(
        413, wire.INVALID_REQUEST, f"The message is larger than {error.limit} bytes and cannot be passed on"
    ),
    SessionError: lambda _: Refusal(404, wire.INVALID_REQUEST, "Session not found: initialize again"),
    RateLimited: _rate_limited,
    LimitError: _limit,
    StorageUnavailable: _unavailable,
    StorageError: _internal,
    GatewayError: _internal,
}
"""Reason → wire. A reason without a row of its own is answered like its family."""


def refusal_of(error: GatewayError) -> Refusal:
    """The refusal for a domain error, by the nearest class that the table knows."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row(error)
    raise AssertionError("GatewayError has a row")
