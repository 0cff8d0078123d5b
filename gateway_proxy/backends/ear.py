"""What a backend says outside of calls: one stream per upstream session and worker, for everybody here who listens.

A stream is open only while somebody listens. It is a GET in the handshake era (2025-11-25, Listening for Messages) and
`subscriptions/listen` in 2026-07-28. Requests of the backend belong to no call here: they are refused, never guessed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.caller import Caller, Declared
from gateway_proxy.backends.envelope import (
    Envelope,
    quote,
    raw_bytes,
    read_envelopes,
    read_fields,
    write_fields,
    write_request,
)
from gateway_proxy.backends.log_levels import EVERYTHING, rank_of
from gateway_proxy.backends.messages import Announcement
from gateway_proxy.backends.pace import Pace
from gateway_proxy.backends.replies import SessionExpired, check_reply
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.backends.sse import EventTooLarge, SseParser
from gateway_proxy.backends.upstream_session import Era, UpstreamSession
from gateway_proxy.backends.waiting import Waiting
from gateway_proxy.domain.errors import BackendMisbehaved, EgressError, RelayError, StorageUnavailable
from gateway_proxy.egress.exchange import Reply
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

EVENT_LIMIT: Final = 1024 * 1024
RATE: Final = 512 * 1024  # of what is announced, in bytes a second: 128 short messages, each of which goes to Redis
AHEAD: Final = 4.0  # seconds of that at once, which is less than may wait for a reader
SILENCE: Final = 600.0
HEAD_TIMEOUT: Final = 30.0
FIRST_PAUSE: Final = 1.0
BRIEF: Final = 5.0
LONGEST_PAUSE: Final = 60.0
LOOK_SECONDS: Final = 1.0
UPDATED: Final = "notifications/resources/updated"
_CHANGED: Final = "/list_changed"
_OF_CALLS: Final = frozenset(
    {"notifications/progress", "notifications/cancelled", "notifications/subscriptions/acknowledged"}
)
_REFUSED: Final = b'"error":{"code":-32601,"message":"This request belongs to no call."}'
_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"


class _Updated(msgspec.Struct):
    uri: str = ""


_updated: Final = msgspec.json.Decoder(_Updated)


class Deaf(Exception):
    """The backend offers no such stream. Stays inside this room."""


Uris = Callable[[], Collection[str]]
"""What a listener is subscribed to at the moment; asked again and again, so it may change."""


@dataclass(eq=False)
class Listener:
    """Somebody who listens: to changes of lists, to updates of `uris`, to log messages from `log_floor` up.

    `begun` is set once the stream is open, or is not to be had at the moment.
    """

    uris: Uris
    log_floor: int = EVERYTHING
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: Waiting = field(default_factory=Waiting)

    def offer(self, announcement: Announcement, envelope: Envelope) -> None:
        """Take it if it is for this one."""
        if announcement.method == UPDATED and not self._is_subscribed(envelope.params):
            return
        if announcement.method == "notifications/message" and rank_of(envelope.params) < self.log_floor:
            return
        self.waiting.put(announcement)

    def end(self) -> None:
        """Nothing more will come."""
        self.begun.set()
        self.waiting.end()

    def _is_subscribed(self, params: Raw) -> bool:
        """Servers may name a part of what was subscribed to (2025-11-25, Resources, Subscriptions)."""
        try:
            uri = _updated.decode(params).uri
        except msgspec.MsgspecError:
            return False
        subscribed = self.uris()
        return uri in subscribed or any(uri.startswith(one.rstrip("/") + "/") for one in subscribed)


class Ear:
    """The stream of one upstream session. `is_shared`: of several users, to whom only changes are nobody's secret."""

    def __init__(
        self,
        get_session: Callable[[], Awaitable[UpstreamSession]],
        expire: Callable[[UpstreamSession], Awaitable[None]],
        write_listen: Callable[[bytes, Collection[str]], bytes],
        on_change: Callable[[str], None],
        *,
        is_shared: bool,
    ) -> None:
        self._get_session = get_session
        self._expire = expire
        self._write_listen = write_listen
        self._on_change = on_change
        self._is_shared = is_shared
        self._listeners: set[Listener] = set()
        self._subscribed: tuple[UpstreamSession | None, set[str]] = (None, set())
        self._begun_with: set[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_open = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self._listeners

    async def listen(self, listener: Listener) -> AsyncGenerator[Announcement, None]:
        """What is announced for this listener, until it closes or nothing more can come."""
        self._listeners.add(listener)
        if self._is_open:
            listener.begun.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ear")
        try:
            while (announcement := await listener.waiting.take()) is not None:
                yield announcement
        finally:
            self._listeners.discard(listener)
            if self.is_idle:
                self.stop()

    def stop(self) -> None:
        """Hang up, and tell whoever listens."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for listener in self._listeners:
            listener.end()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                try:
                    if await self._hear_until_more_is_wanted():
                        continue
                    is_brief = loop.time() - began < BRIEF
                    pause = min(pause * 2, LONGEST_PAUSE) if is_brief else FIRST_PAUSE
                except (RelayError, EgressError, StorageUnavailable, EventTooLarge, ValueError):
                    pause = min(pause * 2, LONGEST_PAUSE)
                    self._tell_begun()
                await asyncio.sleep(pause)
        except Deaf:
            log.info("backend_announces_nothing")
        finally:
            for listener in self._listeners:
                listener.end()
            self._task = None

    async def _hear_until_more_is_wanted(self) -> bool:
        """One stream; True when it was ended because somebody has subscribed to more than it was begun with."""
        self._begun_with = None
        reading = asyncio.create_task(self._hear())
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=LOOK_SECONDS)
                if self._is_more_wanted():
                    return True
            await reading
            return False
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            del reading  # what it raised holds this frame: without the cycle all is freed at once

    def _is_more_wanted(self) -> bool:
        return self._begun_with is not None and not self._wanted() <= self._begun_with

    def _tell_begun(self) -> None:
        for listener in self._listeners:
            listener.begun.set()

    def _wanted(self) -> set[str]:
        return {uri for listener in self._listeners for uri in listener.uris()}

    async def _hear(self) -> None:
        """One stream from its beginning to its end."""
        session = await self._get_session()
        uris = self._begun_with = self._wanted()
        try:
            if session.era is Era.MODERN:
                reply = await self._begin_modern(session, uris)
            else:
                reply = await self._begin_legacy(session, uris)
        except SessionExpired:
            await self._expire(session)
            return
        session.under_way += 1
        self._is_open = True
        self._tell_begun()
        try:
            rate = None if session.endpoint.ends_by_closing else RATE
            parser, pace = SseParser(EVENT_LIMIT), Pace(rate=rate, ahead=AHEAD)
            while (chunk := await reply.read_chunk(timeout=SILENCE)) is not None:
                for event in parser.feed(chunk):
                    for envelope in read_envelopes(event):
                        self._take(session, envelope)
                        if pace.count(len(envelope.params)):
                            await pace.rest()
        finally:
            self._is_open = False
            session.under_way -= 1
            with contextlib.suppress(EgressError):
                await reply.close()

    async def _begin_legacy(self, session: UpstreamSession, uris: set[str]) -> Reply:
        if self._subscribed[0] is not session:
            self._subscribed = (session, set())
        reply = await session.get("", timeout=HEAD_TIMEOUT)
        if await self._is_no_stream(session, reply):
            await reply.close()
            if not uris:
                raise Deaf
            raise BackendMisbehaved(session.backend_name, "it offers subscriptions but no stream for them")
        await check_reply(reply, session.backend_name, has_session=session.record.session_id is not None)
        for uri in sorted(uris - self._subscribed[1]):
            message = write_request(session.minter.next_id(), "resources/subscribe", b'{"uri":%b}' % quote(uri))
            await session.post_and_forget(message)
            self._subscribed[1].add(uri)
        return reply

    async def _is_no_stream(self, session: UpstreamSession, reply: Reply) -> bool:
        """Whether the backend has no stream for a GET: 405, or a page of another kind, or 404 for want of a route.

        404 is what a forgotten session is answered with as well. A session that still answers a ping is not forgotten,
        and giving it up would cost what the backend remembers in it.
        """
        if reply.status == 200:
            return "event-stream" not in (reply.header("content-type") or "")
        if reply.status != 404 or session.record.session_id is None:
            return reply.status in (404, 405, 501)
        ping = await session.post(write_request(session.minter.next_id(), "ping", b"{}"), timeout=HEAD_TIMEOUT)
        try:
            await check_reply(ping, session.backend_name, has_session=True)
        except SessionExpired:
            return False
        finally:
            await ping.close()
        return True

    async def _begin_modern(self, session: UpstreamSession, uris: set[str]) -> Reply:
        extra = [("mcp-method", "subscriptions/listen")]
        message = self._write_listen(session.minter.next_id(), sorted(uris))
        reply = await session.post(message, timeout=HEAD_TIMEOUT, extra=extra)
        failure = await check_reply(reply, session.backend_name, has_session=False)
        if failure is not None or "event-stream" not in (reply.header("content-type") or ""):
            await reply.close()
            raise Deaf
        return reply

    def _take(self, session: UpstreamSession, envelope: Envelope) -> None:
        if envelope.method and envelope.id:
            outcome = b'"result":{}' if envelope.method == "ping" else _REFUSED
            session.aside.spawn(session.answer(bytes(envelope.id), outcome))
        elif envelope.method and envelope.method not in _OF_CALLS:
            self._take_notification(envelope)

    def _take_notification(self, envelope: Envelope) -> None:
        method = envelope.method
        if method.endswith(_CHANGED):
            self._on_change(method)
        elif self._is_shared and method != UPDATED:
            return
        announcement = Announcement(method, _without_subscription(envelope.params))
        for listener in list(self._listeners):
            listener.offer(announcement, envelope)


def write_listen(caller: Caller, declared: Declared, request_id: bytes, uris: Collection[str]) -> bytes:
    """Subscribe to everything that a backend of 2026-07-28 may announce; who hears of what is decided here."""
    wanted: dict[str, object] = dict.fromkeys(("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True)
    wanted["resourceSubscriptions"] = list(uris)
    request = UpstreamRequest("subscriptions/listen", {"notifications": Raw(msgspec.json.encode(wanted))})
    params = request.write_params(request_id, modern=True, caller=caller, capabilities=declared.json)
    return write_request(request_id, request.method, params)


def _without_subscription(params: Raw) -> bytes:
    """The parameters without the id of our own subscription; empty when there are none."""
    if b"subscriptionId" not in bytes(params):
        return raw_bytes(params)
    fields = read_fields(params)
    meta = read_fields(fields["_meta"]) if "_meta" in fields else {}
    meta.pop(_SUBSCRIPTION, None)
    if meta:
        fields["_meta"] = Raw(write_fields(meta))
    else:
        fields.pop("_meta", None)
    return raw_bytes(Raw(write_fields(fields))) if fields else b""
