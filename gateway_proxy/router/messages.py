"""What a call yields: what comes on the way, then exactly one Result or Failure."""

from gateway_proxy.backends.messages import (
    BEGUN,
    Announcement,
    Failure,
    Notification,
    Pause,
    Result,
    ServerRequest,
    Withdrawal,
)

RelayMessage = Notification | ServerRequest | Withdrawal | Pause | Result | Failure

__all__ = [
    "BEGUN",
    "Announcement",
    "Failure",
    "Notification",
    "Pause",
    "RelayMessage",
    "Result",
    "ServerRequest",
    "Withdrawal",
]
