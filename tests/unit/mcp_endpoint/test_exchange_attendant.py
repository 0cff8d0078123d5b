"""When an exchange gets its attendant, who notices that the client is gone, and whose attendant it is."""

import asyncio
from contextvars import Context

import pytest
from starlette.types import Message

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.mcp_endpoint.attendant import Stop
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.telemetry.request_context import REQUEST_ID, current_request_id


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


async def test_an_attendant_belongs_to_its_own_request() -> None:
    """House, Logging: exchanges share a timer, but what is logged for one tenant never names a request of another."""
    loop, alarms, pipe = asyncio.get_running_loop(), Alarms(), asyncio.Queue[Message]()

    async def serve(request_id: str) -> str | None:
        """The request id under which the attendant asks whether the stream may go on."""
        REQUEST_ID.set(request_id)
        asked: asyncio.Future[str | None] = loop.create_future()

        async def is_welcome() -> bool:
            if not asked.done():
                asked.set_result(current_request_id())
            return True

        exchange = Exchange(pipe.get, pipe.put, SystemClock(), EndpointLimits(attend_after=0.01, tick=0.01), alarms)
        exchange.begin_serving(is_welcome)
        await exchange.open_stream()
        try:
            return await asked
        finally:
            await exchange.close()

    async with asyncio.timeout(5):
        serving = [loop.create_task(serve(each), context=Context()) for each in ("first", "second")]
        assert await asyncio.gather(*serving) == ["first", "second"]
