"""What can go wrong on /v1, and the one table from reason to wire. No other module may choose a status code.

The body is always OpenAI's: `{"error": {"message", "type", "param", "code"}}`. A message names the field and what was
expected; it never carries a library's text, a traceback or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from gateway_proxy.domain import errors as domain
from gateway_proxy.router.unlisted import Unlisted
from openai_routes.introduction import plain
from openai_routes.wire import ErrorBody, ErrorDetail

MIB: Final = 1024 * 1024
SERVERS_NAMED: Final = 5


class ChatError(domain.GatewayError):
    """The family of what only this surface can meet."""


@dataclass(eq=False)
class RouteUnknown(ChatError):
    """No such path below /v1."""

    method: str
    path: str


@dataclass(eq=False)
class MethodNotAllowed(ChatError):
    """The path exists, the method does not. `allowed` in the order in which Allow names them."""

    method: str
    allowed: tuple[str, ...]


@dataclass(eq=False)
class BodyTooLarge(ChatError):
    """The request body is over `limit` bytes."""

    limit: int


class BodyEncoded(ChatError):
    """The request body is compressed; we take none, so that a small body cannot unfold into a large one."""


class BodyInterrupted(ChatError):
    """The client went away, or stalled, before its body was complete."""


@dataclass(eq=False)
class BodyNotJson(ChatError):
    """The request body is not a JSON object. `expected` names the fields that it should have."""

    expected: str


@dataclass(eq=False)
class FieldMissing(ChatError):
    """A required field is absent."""

    field: str
    expected: str


@dataclass(eq=False)
class FieldInvalid(ChatError):
    """A field has another type or value than `expected`."""

    field: str
    expected: str


class UserMessageMissing(ChatError):
    """A chat with nothing from the user in it."""


@dataclass(eq=False)
class ModelUnknown(ChatError):
    """Neither the gateway's own model nor an assistant of this tenant."""

    model: str


@dataclass(eq=False)
class ResponseUnknown(ChatError):
    """A response that is not kept: never was, an hour old, or somebody else's."""

    response: str


@dataclass(eq=False)
class ToolServersMissing(ChatError):
    """Tool servers that the assistant names have never been listed and cannot be now. `servers` says which, and why."""

    servers: tuple[Unlisted, ...]


@dataclass(eq=False)
class ProviderMissing(ChatError):
    """The tenant has no provider for this. `wanted` is the name asked for, `request` what would have been passed on.

    `are_several`: there are some that would do, and nothing says which of them it is to be.
    """

    wanted: str | None = None
    request: str | None = None
    are_several: bool = False


@dataclass(eq=False)
class ProviderUnreachable(ChatError):
    """No connection to the provider. `fault` is one of our own words."""

    provider: str
    fault: str


@dataclass(eq=False)
class ProviderTimedOut(ChatError):
    """The provider kept us waiting for `seconds`."""

    provider: str
    seconds: float


@dataclass(eq=False)
class ProviderRefusedCredentials(ChatError):
    """The provider answered 401, 403 or 407 to the key that the tenant configured. `status` is what it said."""

    provider: str
    status: int


@dataclass(eq=False)
class ProviderRefused(ChatError):
    """The provider answered with an error of its own; what it said is passed on, cut to 2,000 characters.

    `status` is None when the error came inside a stream. `retry_after` is the header as it came.
    """

    provider: str
    status: int | None
    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    retry_after: str | None = None


@dataclass(eq=False)
class ProviderMisbehaved(ChatError):
    """The provider broke the format it speaks. `fault` is ours."""

    provider: str
    fault: str


@dataclass(eq=False)
class FailedAfterTools(ChatError):
    """The request failed when tools had already run: trying it again would run them again."""

    cause: domain.GatewayError


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it goes out: status, the four fields, and headers beside Content-Type."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The JSON body."""
        return msgspec.json.encode(ErrorBody(ErrorDetail(self.message, self.type, self.param, self.code)))


def _retry(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": str(max(1, round(seconds)))}


def _backend(message: str, *, status: int = 502, code: str = "backend_error") -> WireError:
    return WireError(status, message, "server_error", None, code)


def _problem_of(server: Unlisted) -> str:
    return "it is still starting" if server.problem is None else plain(server.problem)


def _tool_servers_missing(error: ToolServersMissing) -> WireError:
    """Whether SDKs are to try again by themselves depends on whether waiting is all that it takes."""
    is_starting = all(server.problem is None for server in error.servers)
    sentences = [
        f"The assistant's tool server '{server.name}' is not available: {_problem_of(server)}."
        for server in error.servers[:SERVERS_NAMED]
    ]
    if len(error.servers) > SERVERS_NAMED:
        sentences.append(f"{len(error.servers) - SERVERS_NAMED} more of its tool servers are not available either.")
    headers = _retry(max(server.retry_after for server in error.servers))
    return WireError(
        502,
        " ".join(sentences),
        "server_error",
        None,
        "tool_server_unavailable",
        {**headers, "x-should-retry": "true" if is_starting else "false"},
    )


def _provider_refused(error: ProviderRefused) -> WireError:
    status = error.status or 502
    return WireError(
        status,
        f"The provider '{error.provider}' answered: {error.message}",
        error.type or ("invalid_request_error" if status < 500 else "server_error"),
        error.param,
        error.code,
        {} if error.retry_after is None else {"retry-after": error.retry_after},
    )


def _missing_provider(error: ProviderMissing) -> str:
    if error.wanted is not None:
        return f"The provider '{error.wanted}' is not configured."
    if error.are_several:
        return f"{error.request} could go to several providers, none of them default: name one in X-Gateway-Provider."
    return f"{error.request} would be passed to a provider, and none is configured for it."


def _failed_after_tools(error: FailedAfterTools) -> WireError:
    found = wire_error(error.cause)
    return replace(found, headers={**found.headers, "x-should-retry": "false"})


_TABLE: Final[dict[type[domain.GatewayError], Callable[[Any], WireError]]] = {
    RouteUnknown: lambda e: WireError(404, f"Unknown request URL: {e.method} {e.path}.", code="unknown_url"),
    MethodNotAllowed: lambda e: WireError(
        405,
        f"{e.method} is not allowed here; use {' or '.join(e.allowed)}.",
        code="method_not_allowed",
        headers={"allow": ", ".join(e.allowed)},
    ),
    BodyTooLarge: lambda e: WireError(
        413, f"The request body is larger than {e.limit // MIB} MiB.", code="request_too_large"
    ),
    BodyEncoded: lambda _: WireError(
        415, "Send the request body without Content-Encoding.", code="unsupported_content_encoding"
    ),
    BodyInterrupted: lambda _: WireError(408, "The request body did not arrive in time.", code="request_timeout"),
    BodyNotJson: lambda e: WireError(
        400, f"The request body is not valid JSON; expected a JSON object with {e.expected}.", code="invalid_json"
    ),
    FieldMissing: lambda e: WireError(
        400, f"Missing required field '{e.field}': expected {e.expected}.", param=e.field, code="missing_field"
    ),
    FieldInvalid: lambda e: WireError(
        400, f"Invalid value for '{e.field}': expected {e.expected}.", param=e.field, code="invalid_value"
    ),
    UserMessageMissing: lambda _: WireError(400, "No user message found", param="messages", code="no_user_message"),
    ModelUnknown: lambda e: WireError(
        404,
        f"The model '{e.model}' does not exist. GET /v1/models lists the models you can use.",
        param="model",
        code="model_not_found",
    ),
    ResponseUnknown: lambda e: WireError(
        404,
        f"The response '{e.response}' is not kept; send the whole conversation as 'input'.",
        param="previous_response_id",
        code="previous_response_not_found",
    ),
    ToolServersMissing: _tool_servers_missing,
    ProviderMissing: lambda e: WireError(404, _missing_provider(e), code="provider_not_configured"),
    ProviderUnreachable: lambda e: _backend(
        f"The provider '{e.provider}' cannot be reached: {e.fault}.", code="provider_unreachable"
    ),
    ProviderTimedOut: lambda e: _backend(
        f"The provider '{e.provider}' kept us waiting for {e.seconds:g} s.", status=504, code="provider_timeout"
    ),
    ProviderRefusedCredentials: lambda e: _backend(
        f"The provider '{e.provider}' refused the gateway's credentials (status {e.status}).",
        code="provider_unauthorized",
    ),
    ProviderRefused: _provider_refused,
    ProviderMisbehaved: lambda e: _backend(
        f"The provider '{e.provider}' answered wrongly: {e.fault}.", code="provider_error"
    ),
    FailedAfterTools: _failed_after_tools,
    domain.AuthError: lambda _: WireError(
        401, "Unauthorized: send a valid token as 'Authorization: Bearer <token>'.", code="invalid_api_key"
    ),
    domain.ScopeInsufficient: lambda e: WireError(
        403,
        f"This token lacks the scope {' '.join(sorted(e.required))}.",
        "insufficient_permissions",
        code="insufficient_scope",
    ),
    domain.RateLimited: lambda e: WireError(
        429,
        "Too many requests; wait before trying again.",
        "rate_limit_error",
        code="rate_limit_exceeded",
        headers=_retry(e.retry_after),
    ),
    domain.StorageUnavailable: lambda _: WireError(
        503,
        "The gateway's storage cannot be reached; try again shortly.",
        "server_error",
        code="storage_unavailable",
        headers=_retry(5),
    ),
    domain.RelayError: lambda _: _backend("A tool server failed."),
    domain.CursorInvalid: lambda _: _backend("The list of tools changed while it was read; try again.", status=503),
    domain.ToolUnknown: lambda e: _backend(f"Unknown tool '{e.name}'.", code="tool_unknown"),
    domain.BackendUnavailable: lambda e: _backend(
        f"The tool server '{e.backend}' {'is still being started' if e.is_starting else 'cannot be reached'}."
    ),
    domain.BackendTimeout: lambda e: _backend(
        f"The tool server '{e.backend}' did not answer within {e.seconds:g} s.", status=504, code="backend_timeout"
    ),
    domain.BackendMisbehaved: lambda e: _backend(f"The tool server '{e.backend}' answered wrongly: {e.fault}."),
    domain.ResultTooLarge: lambda e: _backend(
        f"The result of the tool server '{e.backend}' is larger than {e.limit // MIB} MiB."
    ),
    domain.BackendRefusedCredentials: lambda e: _backend(
        f"The tool server '{e.backend}' refused the credentials that are configured for it."
    ),
    domain.AddressForbidden: lambda e: _backend(
        f"The host '{e.host}' may not be reached from this gateway: {e.reason}.", code="address_forbidden"
    ),
    domain.ConnectFailed: lambda e: _backend(f"The host '{e.host}' could not be reached: {e.fault}."),
    domain.ReplyBroken: lambda e: _backend(f"The host '{e.host}' answered wrongly: {e.fault}."),
    domain.ReplyTooLarge: lambda e: _backend(f"The host '{e.host}' answered with more than {e.limit} bytes."),
    domain.ReplyTimedOut: lambda e: _backend(
        f"The host '{e.host}' kept us waiting for {e.seconds:g} s.", status=504, code="backend_timeout"
    ),
    domain.FetchFailed: lambda e: _backend(f"The host '{e.host}' could not be reached: {e.fault}."),
    domain.GatewayError: lambda _: WireError(
        500, "The gateway failed to answer.", "server_error", code="internal_error"
    ),
}


def wire_error(error: BaseException) -> WireError:
    """The wire form of an error: the entry of its class, else of the nearest ancestor, else a plain 500."""
    for kind in type(error).__mro__:
        entry = _TABLE.get(kind)
        if entry is not None:
            return entry(error)
    return WireError(500, "The gateway failed to answer.", "server_error", code="internal_error")


def reason_of(error: BaseException) -> str:
    """The name of the reason, for metrics; `InternalError` for what is none of ours."""
    if isinstance(error, FailedAfterTools):
        return reason_of(error.cause)
    return type(error).__name__ if isinstance(error, domain.GatewayError) else "InternalError"


def mapped_reasons() -> Iterator[type[domain.GatewayError]]:
    """The classes that have an entry of their own, for the test that every leaf is mapped."""
    return iter(_TABLE)


def auth_error_body(status: int, code: str, message: str) -> tuple[bytes, str]:
    """The body and content type of a refusal by `auth.middleware.RequireScope`, in this surface's shape."""
    types = {401: "invalid_request_error", 403: "insufficient_permissions", 429: "rate_limit_error"}
    error = WireError(status, message, types.get(status, "server_error"), None, code)
    return error.body(), "application/json"
