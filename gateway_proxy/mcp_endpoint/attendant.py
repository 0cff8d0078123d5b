"""Who watches over an exchange that takes its time: sees the client hang up, sends heartbeats, asks whether the token
is still good, drops readers that do not read, and asks those to come back whose time is up. It answers nothing itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Protocol

from starlette.types import Receive

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.mcp_endpoint.config import EndpointLimits


class Stop(Enum):
    """Why an exchange is ended before its answer."""

    CLIENT_GONE = auto()
    BODY_LATE = auto()
    CANCELLED = auto()
    SLOW_READER = auto()
    NOT_WELCOME = auto()
    SESSION_ENDED = auto()
    DRAINING = auto()
    UNATTENDED = auto()
    TIME_UP = auto()


class Attended(Protocol):
    """The exchange as its attendant sees it. Times are the clock's, in seconds."""

    is_welcome: Callable[[], Awaitable[bool]] | None
    is_detached: bool
    is_finished: bool
    is_started: bool
    is_streaming: bool
    stopped: Stop | None
    takes_sse: bool
    writing_since: float | None
    wrote_at: float

    @property
    def is_kept(self) -> bool:
        """Whether it may go on without its client."""

    @property
    def returns(self) -> bool:
        """Whether it is a stream that its client opens again when it ends."""

    def outlives_client(self) -> bool:
        """Take note that the client is gone; whether it goes on."""

    def let_go(self) -> None:
        """End the connection and go on."""

    def stop(self, reason: Stop) -> None:
        """End it."""

    async def open_stream(self) -> None:
        """Begin a stream of events, unless it has begun."""

    async def write_comment(self) -> None:
        """Write a heartbeat."""


class Attendant:
    """Of one exchange, from the moment it is made."""

    def __init__(self, exchange: Attended, receive: Receive, clock: Clock, limits: EndpointLimits) -> None:
        self._exchange = exchange
        self._receive = receive
        self._clock = clock
        self._limits = limits
        self._began_at = clock.monotonic()
        self._unchecked_since: float | None = None

    async def watch(self) -> None:
        """Until the exchange is stopped, or this task cancelled because it has ended."""
        exchange = self._exchange
        gone = asyncio.ensure_future(self._wait_until_gone())
        try:
            while exchange.stopped is None:
                if exchange.is_detached:
                    await asyncio.sleep(self._limits.tick)
                else:
                    await asyncio.wait({gone}, timeout=self._until_next_look())
                if gone.done() and not exchange.is_detached and not exchange.outlives_client():
                    exchange.stop(Stop.CLIENT_GONE)
                else:
                    await self._look(self._clock.monotonic())
        except OSError:  # some servers raise it from `send` once the client is gone
            exchange.stop(Stop.CLIENT_GONE)
        finally:
            gone.cancel()

    async def _wait_until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _until_next_look(self) -> float:
        """Seconds; a stream whose time is up sooner is looked at then."""
        limit, tick = self._limits.stream_seconds, self._limits.tick
        return tick if limit is None else min(tick, max(0.0, self._began_at + limit - self._clock.monotonic()) or tick)

    async def _look(self, now: float) -> None:
        exchange = self._exchange
        if exchange.writing_since is not None and not exchange.is_detached:
            if now - exchange.writing_since > self._limits.slow_reader:
                exchange.stop(Stop.SLOW_READER)
        elif self._is_time_up(now):
            await self._ask_to_return()
        elif exchange.is_streaming:
            if not await self._is_welcome(now):
                exchange.stop(Stop.NOT_WELCOME)
            elif now - exchange.wrote_at >= self._limits.heartbeat and not exchange.is_detached:
                await exchange.write_comment()
        elif exchange.takes_sse and not exchange.is_started and now - self._began_at >= self._limits.silence:
            await exchange.open_stream()
            await exchange.write_comment()

    def _is_time_up(self, now: float) -> bool:
        """Whether the client is to come back for the rest; one that cannot keeps its stream."""
        exchange, limit = self._exchange, self._limits.stream_seconds
        if limit is None or now - self._began_at < limit or exchange.is_detached or exchange.is_finished:
            return False
        return exchange.returns or (exchange.is_kept and exchange.takes_sse)

    async def _ask_to_return(self) -> None:
        if self._exchange.returns:
            self._exchange.stop(Stop.TIME_UP)
        else:
            await self._exchange.open_stream()
            self._exchange.let_go()

    async def _is_welcome(self, now: float) -> bool:
        """Ask; while the question cannot be answered the last answer holds, for `unchecked` seconds (security O4)."""
        if self._exchange.is_welcome is None:
            return True
        try:
            welcome = await self._exchange.is_welcome()
        except StorageUnavailable:
            self._unchecked_since = self._unchecked_since or now
            return now - self._unchecked_since <= self._limits.unchecked
        self._unchecked_since = None
        return welcome
