"""What backends announce outside of calls, on its way to a session: gathered here, written to the session's event log.

Gathered only while the session has a GET stream in this worker, and for a while after, so that a client that comes
back has missed nothing. The worker where the latest stream was opened gathers; the others stop.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.routing import Announcer
from gateway_proxy.router.caller import Caller
from gateway_proxy.sessions.event_log import EventLog, LogName
from gateway_proxy.sessions.mailbox import Letter, Mailbox
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

STREAM_OPENED: Final = "stream-opened"
PAUSE_SECONDS: Final = 1.0


@dataclass(eq=False, slots=True)
class Gatherer:
    """One session's announcements. `streams` are its GET streams here; `timer` runs when there are none."""

    ctx: TenantContext
    caller: Caller
    session: SessionRecord
    streams: int = 0
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None


class SessionNews:
    """The gatherers of this worker by session."""

    def __init__(
        self, announcer: Announcer | None, mailbox: Mailbox, event_log: EventLog, limits: EndpointLimits
    ) -> None:
        """Without an `announcer` nothing is gathered."""
        self._announcer = announcer
        self._mailbox = mailbox
        self._event_log = event_log
        self._limits = limits
        self._gatherers: dict[str, Gatherer] = {}
        self._ending: set[asyncio.Task[None]] = set()
        mailbox.on(STREAM_OPENED, self._take_stream_opened)

    def __len__(self) -> int:
        return len(self._gatherers)

    @asynccontextmanager
    async def gathering(self, ctx: TenantContext, caller: Caller, session: SessionRecord) -> AsyncIterator[None]:
        """Gather for a session while it has this stream."""
        if self._announcer is None:
            yield
            return
        gatherer = self._gatherers.get(session.id)
        if gatherer is None:
            gatherer = self._gatherers[session.id] = Gatherer(ctx, caller, session)
            self._start(gatherer)
        gatherer.streams += 1
        if gatherer.timer is not None:
            gatherer.timer.cancel()
        letter = Letter(STREAM_OPENED, session.tenant_id, session.user_id, session.id, "")
        try:
            with contextlib.suppress(StorageUnavailable):  # two workers may tell the same thing twice then
                await self._mailbox.broadcast(letter)
            yield
        finally:
            gatherer.streams -= 1
            if not gatherer.streams:
                loop = asyncio.get_running_loop()
                gatherer.timer = loop.call_later(self._limits.linger_seconds, self._stop, gatherer)

    def refresh(self, session: SessionRecord) -> None:
        """The session as it is stored now: its subscriptions and log level hold from here on."""
        gatherer = self._gatherers.get(session.id)
        if gatherer is None or gatherer.session == session:
            return
        has_new_level = gatherer.session.log_level != session.log_level
        gatherer.session = session
        if has_new_level:
            gatherer.caller = msgspec.structs.replace(gatherer.caller, log_level=session.log_level)
            self._end(gatherer)
            self._start(gatherer)

    def end_session(self, session_id: str) -> None:
        """The session has ended."""
        gatherer = self._gatherers.get(session_id)
        if gatherer is not None:
            self._stop(gatherer)

    async def close(self) -> None:
        """Stop gathering."""
        for gatherer in list(self._gatherers.values()):
            self._stop(gatherer)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _take_stream_opened(self, letter: Letter) -> None:
        """The client listens at another worker now, which gathers from here on."""
        self.end_session(letter.session_id or "")

    def _start(self, gatherer: Gatherer) -> None:
        gatherer.task = asyncio.get_running_loop().create_task(self._gather(gatherer), name="mcp-session-news")

    def _end(self, gatherer: Gatherer) -> None:
        task, gatherer.task = gatherer.task, None  # its frames hold the gatherer: no cycle may be left behind
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _stop(self, gatherer: Gatherer) -> None:
        if gatherer.timer is not None:
            gatherer.timer.cancel()
        if self._gatherers.get(gatherer.session.id) is gatherer:
            del self._gatherers[gatherer.session.id]
        self._end(gatherer)

    async def _gather(self, gatherer: Gatherer) -> None:
        assert self._announcer is not None
        name = LogName(gatherer.session.tenant_id, gatherer.session.id)
        while True:
            news = self._announcer.listen(gatherer.ctx, gatherer.caller, uris=lambda: gatherer.session.subscriptions)
            try:
                async with aclosing(news):
                    async for announcement in news:
                        await self._event_log.tell(
                            name, wire.notification_message(announcement.method, announcement.params)
                        )
            except StorageUnavailable:
                log.warning("session_news_not_told")
            await asyncio.sleep(PAUSE_SECONDS)
