"""What a call yields: notifications and server requests on the way, then exactly one Result or Failure."""

from gateway_proxy.backends.messages import Failure, Notification, Result, ServerRequest

RelayMessage = Notification | ServerRequest | Result | Failure

__all__ = ["Failure", "Notification", "RelayMessage", "Result", "ServerRequest"]
