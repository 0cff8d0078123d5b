"""When an exchange gets its attendant, who notices that the client is gone."""

import asyncio

import pytest
from starlette.types import Message

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.exchange import Exchange, Stop


async def yes() -> bool:
    """The token is good."""
    return True


@pytest.mark.parametrize("has_body", [True, False])
async def test_a_request_that_was_slow_to_begin_is_attended_as_soon_as_any_other(has_body: bool) -> None:
    """Security D1, D3, RS2: a late body, or a slow look-up before a GET stream, put the attendant off by 30 s."""
    inbox, outbox = asyncio.Queue[Message](), asyncio.Queue[Message]()
    exchange = Exchange(inbox.get, outbox.put, SystemClock(), EndpointLimits(attend_after=0.01), Alarms())
    exchange.ring()  # nothing is read, and the time of quick calls is over
    inbox.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})
    if has_body:
        assert await exchange.read_body(2) == b"{}"
    else:
        exchange.begin_serving(yes)
    inbox.put_nowait({"type": "http.disconnect"})

    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await exchange.wait()

    assert exchange.restart() is Stop.CLIENT_GONE
    await exchange.close()
