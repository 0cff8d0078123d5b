"""The ids of our events: where a client stopped reading, in words that any worker understands. Text only.

They are not secret and not trusted: what they name is looked up under the tenant and session of whoever sends them.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from gateway_proxy.mcp_endpoint.envelope import checked_id
from gateway_proxy.mcp_endpoint.errors import Refusal

MAX_BYTES: Final = 1024
_CALL: Final = re.compile(rb"c\.([0-9a-f]{16})\.([0-9]{1,15})\.([0-9]{1,15})\.([A-Za-z0-9_-]+)")
_SESSION: Final = re.compile(rb"s\.([0-9]{1,20}-[0-9]{1,20})\.([0-9a-f]{0,32})")


@dataclass(frozen=True, slots=True)
class CallPlace:
    """After event `number` of a call's stream. `request_id` is the client's own id of the call."""

    worker_id: str
    stream: int
    number: int
    request_id: bytes

    @property
    def call(self) -> str:
        """The name of the call's log."""
        return f"{self.worker_id}.{self.stream}"

    def written(self) -> bytes:
        """The event id."""
        tail = base64.urlsafe_b64encode(self.request_id).rstrip(b"=")
        return b"c.%b.%d.%d.%b" % (self.worker_id.encode("ascii"), self.stream, self.number, tail)


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """After a position of the session's own log, with the lists known by `stamp` (hex, may be empty)."""

    position: str
    stamp: str

    def written(self) -> bytes:
        """The event id."""
        return f"s.{self.position}.{self.stamp}".encode("ascii")


def read_place(value: bytes | None) -> CallPlace | SessionPlace | None:
    """The place that a `Last-Event-ID` names; None for none, or for what was never ours."""
    if value is None or len(value) > MAX_BYTES:
        return None
    session = _SESSION.fullmatch(value)
    if session is not None:
        return SessionPlace(session[1].decode("ascii"), session[2].decode("ascii"))
    call = _CALL.fullmatch(value)
    if call is None:
        return None
    try:
        request_id = checked_id(base64.b64decode(call[4] + b"=" * (-len(call[4]) % 4), b"-_", validate=True))
        request_id.decode("utf-8")
    except (binascii.Error, ValueError, Refusal):
        return None
    return CallPlace(call[1].decode("ascii"), int(call[2]), int(call[3]), request_id)
