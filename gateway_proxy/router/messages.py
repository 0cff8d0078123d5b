"""What a call yields: what comes on the way, then exactly one Result or Failure."""

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from gateway_proxy.backends.messages import (
    BEGUN,
    OUTCOMES,
    Announcement,
    Failure,
    Notification,
    Pause,
    Result,
    ServerRequest,
    Withdrawal,
)


class Messages(Protocol):
    """What a request yields, to be read to its end or closed."""

    def __aiter__(self) -> AsyncIterator["RelayMessage"]: ...

    def __anext__(self) -> Coroutine[Any, Any, "RelayMessage"]: ...

    def aclose(self) -> Coroutine[Any, Any, None]: ...


RelayMessage = Notification | ServerRequest | Withdrawal | Pause | Result | Failure

__all__ = [
    "BEGUN",
    "OUTCOMES",
    "Announcement",
    "Failure",
    "Messages",
    "Notification",
    "Pause",
    "RelayMessage",
    "Result",
    "ServerRequest",
    "Withdrawal",
]
