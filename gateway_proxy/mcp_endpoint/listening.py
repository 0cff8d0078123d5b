"""GET streams: a session's messages that belong to no call, and the rest of a call's stream that its client lost.

Both come from the event log, so any worker can hold the stream (MCP 2025-11-25, Listening for Messages, Resumability).
Where the messages come from is not known here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.mcp_endpoint import headers as h
from gateway_proxy.mcp_endpoint import sse, wire
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.event_ids import CallPlace, SessionPlace, read_place
from gateway_proxy.mcp_endpoint.kept_streams import HAND_OVER, HANDED_OVER, KEEPS_SINCE
from gateway_proxy.mcp_endpoint.open_streams import OpenStreams
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.session_news import SessionNews
from gateway_proxy.router.caller import Caller
from gateway_proxy.sessions.event_log import GONE, EventLog, LogEntry, LogName, position_of, sort_key
from gateway_proxy.sessions.mailbox import Letter, Mailbox

TAKEN_SECONDS: Final = 3.0
LOOKS: Final = 10
"""After so many looks in vain for a call's next message it is asked whether its worker is still there."""

LOST: Final = "The rest of this call is no longer there; call again if you need it"


class Listening:
    """Serves GET streams."""

    def __init__(
        self, mailbox: Mailbox, event_log: EventLog, streams: OpenStreams, news: SessionNews, limits: EndpointLimits
    ) -> None:
        self._mailbox = mailbox
        self._news = news
        self._event_log = event_log
        self._streams = streams
        self._limits = limits
        self._asked: dict[str, asyncio.Event] = {}
        mailbox.on(HANDED_OVER, self._take_handed_over)

    async def serve(
        self, post: Post, session: SessionRecord, caller: Caller, is_welcome: Callable[[], Awaitable[bool]]
    ) -> None:
        """Hold the stream until the client leaves, the session or token ends, or a resumed call is told to its end.

        Raises:
            SessionLimitReached: The user, or this worker, holds as many streams as it may.
            StorageUnavailable: The event log cannot be reached.
        """
        place = read_place(post.headers.value(b"last-event-id"))
        issued = ((h.SESSION_ID, session.id.encode("ascii")),)
        with self._streams.holding(session.tenant_id, session.user_id, session.id, post.exchange):
            post.exchange.begin_serving(is_welcome)
            if isinstance(place, CallPlace):
                await post.exchange.open_stream(issued)
                await post.exchange.write_comment()
                await self._tell_rest(post, session, place)
                return
            name = LogName(session.tenant_id, session.id)
            newest = await self._event_log.open(name)
            await post.exchange.open_stream(issued)
            if place is None:
                place = SessionPlace(newest, "")
                if session.protocol_version >= KEEPS_SINCE:
                    await post.exchange.write_raw(sse.priming(place.written(), self._limits.reconnect_ms))
            elif sort_key(place.position) > sort_key(newest):
                place = SessionPlace(newest, place.stamp)  # of a log that is gone: what is new has lower positions
            await post.exchange.write_comment()
            async with self._news.gathering(post.ctx, caller, session):
                await self._tell_news(post, session, name, place)

    async def _tell_news(self, post: Post, session: SessionRecord, name: LogName, place: SessionPlace) -> None:
        """Pass on the session's own messages. Of several streams of a session only the newest gets them."""
        position = place.position
        with self._event_log.watching(name) as changed:
            while True:
                changed.clear()
                if self._streams.is_newest(session.tenant_id, session.user_id, session.id, post.exchange):
                    for entry in await self._read(name, position):
                        position = entry.position
                        if entry.message:
                            event_id = SessionPlace(position, place.stamp).written()
                            await post.exchange.write_raw(sse.event(entry.message, event_id))
                await _wait(changed, self._limits.look_again)
                with contextlib.suppress(StorageUnavailable):
                    await self._event_log.open(name)

    async def _tell_rest(self, post: Post, session: SessionRecord, place: CallPlace) -> None:
        """Pass on what a call said after the event that the client saw last, until its response."""
        name = LogName(session.tenant_id, session.id, place.call)
        position, looks, is_lost = position_of(place.number), 0, False
        with self._event_log.watching(name) as changed:
            while True:
                changed.clear()
                entries = await self._read(name, position)
                for entry in entries:
                    position = entry.position
                    if await self._tell_entry(post, place, entry):
                        return
                if entries:
                    continue
                if is_lost:  # and by now it is certain that nothing more was written
                    await post.exchange.write_last_event(wire.error_message(place.request_id, wire.UNAVAILABLE, LOST))
                    return
                if looks % LOOKS == 0:
                    is_lost = not await self._is_handed_over(session, place, is_first=not looks)
                else:
                    await _wait(changed, self._limits.look_again_for_call)
                looks += 1

    async def _is_handed_over(self, session: SessionRecord, place: CallPlace, *, is_first: bool) -> bool:
        """Ask the call's worker for the rest; False when it is gone.

        One that was killed is on the list of workers for a while yet, so it has to answer.

        Raises:
            StorageUnavailable: It cannot be asked, the first time; later an outage is waited for.
        """
        ref = new_id()
        letter = Letter(
            HAND_OVER, session.tenant_id, session.user_id, session.id, str(place.stream), ref.encode("ascii")
        )
        heard = self._asked[ref] = asyncio.Event()
        try:
            if not await self._mailbox.send(place.worker_id, letter):
                return False
            await _wait(heard, TAKEN_SECONDS)
            return heard.is_set()
        except StorageUnavailable:
            if is_first:
                raise
            return True
        finally:
            del self._asked[ref]

    async def _take_handed_over(self, letter: Letter) -> None:
        heard = self._asked.get(letter.ref)
        if heard is not None:
            heard.set()

    async def _tell_entry(self, post: Post, place: CallPlace, entry: LogEntry) -> bool:
        """Write one event; whether it was the last."""
        number = sort_key(entry.position)[0]
        if number == GONE:
            await post.exchange.write_last_event(wire.error_message(place.request_id, wire.UNAVAILABLE, LOST))
            return True
        event_id = CallPlace(place.worker_id, place.stream, number, place.request_id).written()
        await post.exchange.write_raw(sse.event(entry.message, event_id))
        if entry.is_last:
            await post.exchange.end_stream()
        return entry.is_last

    async def _read(self, name: LogName, after: str) -> list[LogEntry]:
        """What is new. An outage while the stream is open is waited for."""
        try:
            return await self._event_log.read(name, after=after)
        except StorageUnavailable:
            return []


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()
