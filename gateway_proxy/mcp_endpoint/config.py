"""What the operator and the composition root decide about /mcp. Values only."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

LOOPBACK_ORIGIN: Final = re.compile(rb"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")

IsStillWelcome = Callable[[Scope], Awaitable[bool]]
"""Whether the token behind an open stream is still good; asked every few seconds. May raise StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """How the gateway introduces itself to MCP clients."""

    name: str = "gateway-proxy"
    title: str = "MCP gateway"
    version: str = "0"
    instructions: str = (
        "This gateway offers the tools of several MCP servers. The name of a tool begins with that of its server; "
        "call it by the name under which it is listed."
    )


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Sizes in bytes, times in seconds (reference/security.md D1, D3, D4).

    `attend_after`: a call that takes longer gets an attendant (client gone? heartbeat due?); faster ones never pay for
    one. `tick` is how often the attendant looks. A call silent for `silence` seconds turns into an SSE stream, so that
    no proxy takes it for dead. `list_ttl_ms` is the `ttlMs` of lists: short, because removed tools vanish at once.
    `look_again`: how often a reader of the event log looks without having been woken. `left_calls_per_user` may go on
    without their client; `remember_ended` is how long a stream's end may be asked for again.
    `stream_seconds`: after so long a client that can come back is asked to; None is never.
    `linger_seconds`: announcements are gathered for so long after a session's last GET stream.
    `parked_seconds` and `parked_per_user` are for calls that wait for input of a client of 2026-07-28.
    """

    body_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 30.0
    handshake_bytes: int = 32 * 1024
    attend_after: float = 0.1
    tick: float = 3.0
    silence: float = 5.0
    heartbeat: float = 15.0
    slow_reader: float = 30.0
    unchecked: float = 30.0
    streams_per_user: int = 10
    streams_per_worker: int = 1000
    list_ttl_ms: int = 10_000
    reconnect_ms: int = 1000
    stream_seconds: float | None = None
    look_again: float = 30.0
    look_again_for_call: float = 1.0
    left_calls_per_user: int = 16
    remember_ended: float = 60.0
    linger_seconds: float = 60.0
    parked_seconds: float = 300.0
    parked_per_user: int = 16


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """`public_url`'s origin may always call from a browser, `allowed_origins` too (MCP, Streamable HTTP §Security).

    Without a list loopback origins may call as well: a page there is the user's own program, and needs a token anyhow.
    """

    public_url: str
    allowed_origins: tuple[str, ...] = ()
    server: ServerIdentity = field(default_factory=ServerIdentity)
    limits: EndpointLimits = field(default_factory=EndpointLimits)

    def is_allowed_origin(self, origin: bytes) -> bool:
        """Whether a page of this origin may call."""
        lowered = origin.lower()
        listed = self.origins()
        if lowered in listed or b"*" in listed:
            return True
        return not self.allowed_origins and LOOPBACK_ORIGIN.fullmatch(lowered) is not None

    def origins(self) -> frozenset[bytes]:
        """The origins that are named: our own and the listed ones."""
        public = urlsplit(self.public_url)
        own = f"{public.scheme}://{public.netloc}"
        return frozenset(
            origin.rstrip("/").lower().encode("latin-1", "replace") for origin in (own, *self.allowed_origins)
        )
