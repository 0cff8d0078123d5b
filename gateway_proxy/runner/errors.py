"""Why the runner refuses to start or reach a child. These end at the runner's own HTTP surface (see `asgi`).

They are not in `domain.errors`: no other room can meet them, the gateway sees only the JSON that they become.
"""

from dataclasses import dataclass


class RunnerError(Exception):
    """The root of the runner's refusals. Never raised itself."""


@dataclass(eq=False)
class SpecInvalid(RunnerError):
    """The launch specification does not fit. `field` is its JSON name, `expected` completes "must be …"."""

    field: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}"


@dataclass(eq=False)
class CommandNotAllowed(RunnerError):
    """The operator of this runner did not allow that command."""

    command: str

    def __str__(self) -> str:
        return f"command {self.command!r} is not on this runner's allow-list"


@dataclass(eq=False)
class TenantLimitReached(RunnerError):
    """The tenant has as many children as it may, and none of them has been idle for long."""

    limit: int

    def __str__(self) -> str:
        return f"the tenant already runs {self.limit} servers"


@dataclass(eq=False)
class RunnerFull(RunnerError):
    """This runner hosts as many children as it may."""

    limit: int

    def __str__(self) -> str:
        return f"this runner already hosts {self.limit} servers"


@dataclass(eq=False)
class StartFailed(RunnerError):
    """The child could not be started, or did not answer `initialize`. `reason` is one of our own sentences."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class BreakerOpen(RunnerError):
    """The child failed too often; nothing is started for it for `retry_after` seconds."""

    retry_after: float

    def __str__(self) -> str:
        return "the server failed repeatedly and is not restarted for a while"


class SessionGone(RunnerError):
    """No living instance of that id: never started, ended, or replaced by a younger one."""

    def __str__(self) -> str:
        return "no living server with that session id"


class MessageInvalid(RunnerError):
    """The body is not exactly one JSON-RPC message."""

    def __str__(self) -> str:
        return "the body must be one JSON-RPC 2.0 message"


class TooManyStreams(RunnerError):
    """The child has as many open streams, or calls in flight, as it may."""

    def __str__(self) -> str:
        return "too many open streams or calls on this server"


class WireClosed(RunnerError):
    """The child takes nothing any more: it ended, or it does not read what is sent to it."""

    def __str__(self) -> str:
        return "the backend does not take any more messages"
