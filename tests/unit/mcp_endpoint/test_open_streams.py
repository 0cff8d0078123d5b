"""Streams that are held open, counted by user and by worker."""

import asyncio

import pytest
from starlette.types import Message

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.domain.errors import SessionLimitReached
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.mcp_endpoint.open_streams import OpenStreams


async def test_who_is_refused_leaves_nothing_behind() -> None:
    """Security D3, F13: at the limit of a worker every further user is refused, and none of them may cost it memory."""
    limits, pipe = EndpointLimits(streams_per_worker=1), asyncio.Queue[Message]()
    streams = OpenStreams(limits)
    held, refused = (Exchange(pipe.get, pipe.put, SystemClock(), limits, Alarms()) for _ in range(2))

    with streams.holding("acme", "ann", "s1", held):
        with pytest.raises(SessionLimitReached), streams.holding("acme", "bob", "s2", refused):
            pass
        assert list(streams._by_user) == [("acme", "ann")]

    assert streams._by_user == {}
    for exchange in (held, refused):
        await exchange.close()
