"""The streams of events that clients hold open for the server's own messages (GET), counted and endable.

Which messages they carry is not known here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway_proxy.domain.errors import SessionLimitReached
from gateway_proxy.mcp_endpoint.attendant import Stop
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.exchange import Exchange


class OpenStreams:
    """Open streams by user, within the limits (reference/security.md D3)."""

    def __init__(self, limits: EndpointLimits) -> None:
        self._limits = limits
        self._by_user: dict[tuple[str, str], dict[Exchange, str]] = {}
        self._count = 0

    @contextmanager
    def holding(self, tenant_id: str, user_id: str, session_id: str, exchange: Exchange) -> Iterator[None]:
        """Count the stream while it is open.

        Raises:
            SessionLimitReached: The user, or this worker, holds as many as it may.
        """
        owner = (tenant_id, user_id)
        streams = self._by_user.get(owner, {})
        if len(streams) >= self._limits.streams_per_user or self._count >= self._limits.streams_per_worker:
            raise SessionLimitReached(self._limits.streams_per_user)
        self._by_user[owner] = streams
        streams[exchange] = session_id
        self._count += 1
        try:
            yield
        finally:
            del streams[exchange]
            self._count -= 1
            if not streams and self._by_user.get(owner) is streams:
                del self._by_user[owner]

    def is_newest(self, tenant_id: str, user_id: str, session_id: str, exchange: Exchange) -> bool:
        """Whether no other stream of the session was opened later in this worker: a message goes to one stream only."""
        streams = self._by_user.get((tenant_id, user_id), {})
        return next((each for each, of in reversed(streams.items()) if of == session_id), None) is exchange

    def end_session(self, tenant_id: str, user_id: str, session_id: str) -> None:
        """End the streams of a session that was deleted."""
        for exchange, belongs_to in list(self._by_user.get((tenant_id, user_id), {}).items()):
            if belongs_to == session_id:
                exchange.stop(Stop.SESSION_ENDED)

    def end_all(self) -> None:
        """End every stream and tell clients to come back: this worker is going away."""
        for streams in list(self._by_user.values()):
            for exchange in list(streams):
                exchange.stop(Stop.DRAINING)
