"""Which session rooms this process uses: Redis when there is one, else its own memory. No third way belongs here."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from gateway_proxy.domain.clock import Clock
from gateway_proxy.sessions.event_log import EventLog
from gateway_proxy.sessions.mailbox import Mailbox
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.memory_mailbox import MemoryMailbox
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.redis_event_log import RedisEventLog
from gateway_proxy.sessions.redis_mailbox import RedisMailbox
from gateway_proxy.sessions.redis_store import RedisSessionStore
from gateway_proxy.sessions.store import SessionLimits, SessionStore


@dataclass(frozen=True, slots=True)
class Crossing:
    """How one worker's MCP traffic reaches another: letters to the worker that waits, and logs that any may read."""

    mailbox: Mailbox
    event_log: EventLog


@asynccontextmanager
async def open_session_store(
    redis: Redis | None, clock: Clock, limits: SessionLimits | None = None
) -> AsyncIterator[SessionStore]:
    """The session store for the life of the process. An unreachable Redis is no reason not to start."""
    store = MemorySessionStore(clock, limits) if redis is None else RedisSessionStore(redis, clock, limits)
    async with store:
        yield store


@asynccontextmanager
async def open_crossing(redis: Redis | None, clock: Clock) -> AsyncIterator[Crossing]:
    """Mailbox and event log for the life of the process; the same holds for an unreachable Redis."""
    if redis is None:
        yield Crossing(MemoryMailbox(), MemoryEventLog(clock))
        return
    async with AsyncExitStack() as stack:
        mailbox = await stack.enter_async_context(RedisMailbox(redis, clock))
        event_log = await stack.enter_async_context(RedisEventLog(redis))
        yield Crossing(mailbox, event_log)
