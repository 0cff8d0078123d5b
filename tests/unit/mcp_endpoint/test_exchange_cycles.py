"""What is left of an exchange that has ended: nothing that waits for the garbage collector."""

import gc
import weakref

from starlette.types import Message

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.exchange import Exchange


class Holder:
    """Holds the exchange, as the request of a stream does, and is asked by it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def is_welcome(self) -> bool:
        """Yes."""
        return True


async def receive() -> Message:
    """A client that is gone."""
    return {"type": "http.disconnect"}


async def send(_: Message) -> None:
    """Nobody reads."""


async def test_an_exchange_that_has_ended_is_freed_at_once() -> None:
    """Security F12, F13: memory comes back when streams are dropped, not when the collector comes by."""
    gc.disable()
    try:
        holder = Holder(Exchange(receive, send, SystemClock(), EndpointLimits(), Alarms()))
        holder.exchange.begin_serving(holder.is_welcome)
        left = weakref.ref(holder)
        await holder.exchange.close()
        del holder
        assert left() is None
    finally:
        gc.enable()
