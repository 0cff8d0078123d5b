"""Streams of calls that outlive their connection: every event has an id, and what a client missed it can come back for.

While the client is there, events are only remembered in this worker, so a stream costs no Redis. When it leaves, or
turns up at another worker, what is remembered and all that follows goes to the event log (MCP 2025-11-25, Resumability
and Redelivery). A stream that has ended is remembered for a minute, because its end may not have arrived.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from typing import Final

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.mcp_endpoint import sse
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.event_ids import CallPlace
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.sessions.event_log import GONE, EventLog, LogName
from gateway_proxy.sessions.mailbox import Letter, Mailbox
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

HAND_OVER: Final = "hand-over"
HANDED_OVER: Final = "handed-over"
KEEPS_SINCE: Final = "2025-11-25"
"""The first revision whose clients take a priming event, which has no data."""

REMEMBERED_MESSAGES: Final = 256
REMEMBERED_BYTES: Final = 1024 * 1024
LOGGED_BYTES: Final = 16 * 1024 * 1024
ENDED_BYTES: Final = 32 * 1024 * 1024
ATTEMPTS: Final = 20
LONGEST_PAUSE: Final = 5.0


class KeptStreams:
    """The kept streams of this worker by number."""

    def __init__(self, mailbox: Mailbox, event_log: EventLog, limits: EndpointLimits) -> None:
        self.worker_id = mailbox.worker_id
        self.limits = limits
        self.event_log = event_log
        self._streams: dict[int, KeptStream] = {}
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._ended_bytes = 0
        self._left: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._mailbox = mailbox
        mailbox.on(HAND_OVER, self._take_hand_over)

    def __len__(self) -> int:
        return len(self._streams)

    def of_call(self, session: SessionRecord, exchange: Exchange, request_id: bytes) -> "KeptStream":
        """A stream for one call; it is known from the moment in which it begins."""
        return KeptStream(self, session, exchange, request_id)

    def register(self, stream: "KeptStream") -> int:
        """The stream has begun; its number."""
        self._count += 1
        self._streams[self._count] = stream
        return self._count

    def admit(self, session: SessionRecord) -> bool:
        """Whether one more call of this user may go on without its client."""
        owner = (session.tenant_id, session.user_id)
        count = self._left.get(owner, 0)
        if count >= self.limits.left_calls_per_user:
            return False
        self._left[owner] = count + 1
        return True

    def write_behind(self, stream: "KeptStream") -> None:
        """Carry the stream into the event log from now on."""
        task = asyncio.get_running_loop().create_task(self._write_behind(stream), name="mcp-kept-stream")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def remember(self, stream: "KeptStream") -> None:
        """The stream has ended in front of its client."""
        self._ended[stream.number] = stream.size
        self._ended_bytes += stream.size
        asyncio.get_running_loop().call_later(self.limits.remember_ended, self._forget, stream.number)
        while self._ended_bytes > ENDED_BYTES:
            self._forget(next(iter(self._ended)))

    async def close(self) -> None:
        """Stop writing; what is not in the log yet is lost with the worker."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, number: int) -> None:
        size = self._ended.pop(number, None)
        if size is not None:
            self._ended_bytes -= size
            self._streams.pop(number, None)

    async def _write_behind(self, stream: "KeptStream") -> None:
        session = stream.session
        try:
            await stream.write_all()
        finally:
            self._forget(stream.number)
            self._streams.pop(stream.number, None)
            if stream.is_admitted:
                owner = (session.tenant_id, session.user_id)
                self._left[owner] -= 1
                if not self._left[owner]:
                    del self._left[owner]

    async def _take_hand_over(self, letter: Letter) -> None:
        """The client asks elsewhere for the rest of a stream of ours. That we live is said, whatever there is of it."""
        assert letter.session_id is not None
        stream = self._streams.get(int(letter.ref))
        if stream is None or (stream.session.tenant_id, stream.session.id) != (letter.tenant_id, letter.session_id):
            name = LogName(letter.tenant_id, letter.session_id, f"{self.worker_id}.{int(letter.ref)}")
            if not await self.event_log.read(name, after="0-0"):
                await self.event_log.record(name, GONE, b"", is_last=True)
        else:
            stream.hand_over()
        heard = Letter(HANDED_OVER, letter.tenant_id, letter.user_id, letter.session_id, letter.body.decode("ascii"))
        with contextlib.suppress(StorageUnavailable):
            await self._mailbox.send(letter.sender, heard)


class KeptStream:
    """The events of one call: remembered, then logged. Fits `exchange.Keeper`. Most calls never begin their stream."""

    number = size = 0
    is_admitted = False
    _count = _logged_bytes = 0
    _is_over = _is_written_behind = False
    _grown: asyncio.Event | None = None
    _events: deque[tuple[int, bytes]]

    def __init__(self, streams: KeptStreams, session: SessionRecord, exchange: Exchange, request_id: bytes) -> None:
        self.session = session
        self._streams = streams
        self._exchange: Exchange | None = exchange
        self._request_id = request_id

    def begin(self) -> bytes:
        """The priming event: an id to come back with before anything was said, and when to come back."""
        self._events = deque()
        self.number = self._streams.register(self)
        return sse.priming(self._event_id(0), self._streams.limits.reconnect_ms)

    def keep(self, message: bytes, *, is_last: bool) -> bytes:
        """Remember a message; the event for the client."""
        self._count += 1
        self._events.append((self._count, message))
        self.size += len(message)
        if is_last:
            self._is_over = True
            self._exchange = None
            if not self._is_written_behind:
                self._streams.remember(self)
        elif not self._is_written_behind:
            self._drop_surplus()
        if self._grown is not None:
            self._grown.set()
        return sse.event(message, self._event_id(self._count))

    def client_left(self) -> bool:
        """The connection is gone. True when the call goes on and is carried into the log."""
        if not self._is_written_behind:
            if not self._streams.admit(self.session):
                return False
            self.is_admitted = True
            self._begin_to_write()
        return True

    def hand_over(self) -> None:
        """The client reads on elsewhere: end its connection here, if there is one, and write to the log."""
        if self._is_written_behind:
            return
        if self._exchange is not None:
            self._exchange.let_go()
        if not self._is_written_behind:
            self._begin_to_write()

    async def write_all(self) -> None:
        """Write to the log until the last message is there. An outage of the store is waited for, within reason."""
        assert self._grown is not None
        attempt = 0
        while True:
            self._grown.clear()
            try:
                await self._write_some()
            except StorageUnavailable:
                attempt += 1
                if attempt > ATTEMPTS:
                    log.warning("kept_stream_lost")
                    return
                await asyncio.sleep(min(0.1 * 2.0**attempt, LONGEST_PAUSE))
                continue
            attempt = 0
            if self._is_over and not self._events:
                return
            await self._grown.wait()

    async def _write_some(self) -> None:
        name = LogName(self.session.tenant_id, self.session.id, f"{self._streams.worker_id}.{self.number}")
        while self._events:
            number, message = self._events[0]
            is_last = self._is_over and number == self._count
            if is_last or self._logged_bytes + len(message) <= LOGGED_BYTES:
                await self._streams.event_log.record(name, number, message, is_last=is_last)
                self._logged_bytes += len(message)
            self._events.popleft()
            self.size -= len(message)

    def _begin_to_write(self) -> None:
        self._is_written_behind = True
        self._grown = asyncio.Event()
        self._streams.write_behind(self)

    def _drop_surplus(self) -> None:
        while len(self._events) > REMEMBERED_MESSAGES or (self.size > REMEMBERED_BYTES and len(self._events) > 1):
            self.size -= len(self._events.popleft()[1])

    def _event_id(self, number: int) -> bytes:
        return CallPlace(self._streams.worker_id, self.number, number, self._request_id).written()
