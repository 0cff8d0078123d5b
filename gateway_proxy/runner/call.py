"""One request of the gateway while the child works on it: whose it is, how it is known to the child, what came back."""

from dataclasses import dataclass, field

from gateway_proxy.runner.outbox import Outbox


@dataclass(slots=True, eq=False)
class Call:
    """`number` is the id and the progress token that the child sees; `raw_id` and `raw_token` are the caller's own.

    Numbers are minted per instance and never used twice, so two callers that both say id 1 and token 1 cannot meet.
    """

    number: int
    raw_id: bytes
    method: str
    raw_token: bytes | None = None
    outbox: Outbox = field(default_factory=Outbox)
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A request that the child made: its own id, and the call on whose stream it was passed on (None: GET stream)."""

    raw_id: bytes
    call: Call | None
