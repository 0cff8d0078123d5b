"""From what went wrong on the wire to what the caller of a tool is told. One table for all transports."""

from gateway_proxy.domain.errors import (
    AddressForbidden,
    BackendMisbehaved,
    BackendTimeout,
    BackendUnavailable,
    ConnectFailed,
    EgressError,
    RelayError,
    ReplyTimedOut,
    ReplyTooLarge,
    ResultTooLarge,
)


def relay_error(backend: str, error: EgressError, *, seconds: float) -> RelayError:
    """The error of the relay for an error of egress. `seconds` is the time that the call was given."""
    if isinstance(error, ReplyTimedOut):
        return BackendTimeout(backend, seconds)
    if isinstance(error, ReplyTooLarge):
        return ResultTooLarge(backend, error.limit)
    if isinstance(error, ConnectFailed):
        return BackendUnavailable(backend, None, error.fault)
    if isinstance(error, AddressForbidden):
        return BackendUnavailable(backend, None, f"its address may not be reached: {error.reason}")
    return BackendMisbehaved(backend, "the connection ended before the response was complete")
