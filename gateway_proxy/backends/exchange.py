"""One request under way at a backend: what it sends meanwhile, then the one response. JSON and SSE alike.

Each exchange has its own reply and its own request id, and reads only its own stream, so that calls of different
users on one upstream session cannot see each other.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from gateway_proxy.backends.breaker import Breaker
from gateway_proxy.backends.caller import Declared
from gateway_proxy.backends.deadline import Deadline
from gateway_proxy.backends.envelope import (
    Envelope,
    one_line,
    raw_bytes,
    read_envelopes,
    read_failure,
    read_fields,
    read_progress_token,
    write_fields,
    write_notification,
)
from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.log_levels import EVERYTHING, rank_of
from gateway_proxy.backends.messages import (
    Failure,
    Notification,
    Pause,
    Result,
    ServerRequest,
    UpstreamMessage,
    Withdrawal,
)
from gateway_proxy.backends.pace import Pace
from gateway_proxy.backends.sse import EventTooLarge, SseParser
from gateway_proxy.backends.upstream_session import Era, UpstreamSession
from gateway_proxy.domain.errors import BackendMisbehaved, BackendTimeout, EgressError, RelayError, ResultTooLarge
from gateway_proxy.egress.exchange import Reply

RESULT_LIMIT: Final = 10 * 1024 * 1024
STREAM_LIMIT: Final = 64 * 1024 * 1024
MAX_RESUMES: Final = 100
MAX_SERVER_REQUESTS: Final = 100
FIRST_RETRY: Final = 1.0
RATE: Final = 4 * 1024 * 1024  # of what comes before the outcome, in bytes a second: 1,024 short messages
AHEAD: Final = 1.0  # seconds of that at once
_REFUSED: Final = b'"error":{"code":-32601,"message":"The client does not support this request."}'
_UNDECLARED: Final = b'"error":{"code":-32602,"message":"The client did not declare that it can be asked like this."}'
_CHANGED: Final = "/list_changed"
_MODERN: Final = Era.MODERN


class Exchange:
    """Ask `receive` until it gives a Result or a Failure, then `close`. Closing earlier cancels the call upstream."""

    __slots__ = (
        "_asked",
        "_breaker",
        "_content_type",
        "_deadline",
        "_declared",
        "_is_closed",
        "_is_done",
        "_is_paused",
        "_log_floor",
        "_on_change",
        "_pace",
        "_parser",
        "_passes_on",
        "_progress_token",
        "_queue",
        "_received",
        "_reply",
        "_request_id",
        "_resumes",
        "_session",
        "_unanswered",
    )

    def __init__(
        self,
        session: UpstreamSession,
        reply: Reply,
        request_id: bytes,
        *,
        progress_token: bytes,
        declared: Declared,
        deadline: Deadline,
        breaker: Breaker,
        on_change: Callable[[str], None],
        log_floor: int = EVERYTHING,
        passes_on: bool = False,
    ) -> None:
        """`declared` says which server requests the caller can answer; `on_change` hears of list_changed.

        Log messages below the rank `log_floor` are not the caller's. With `passes_on` the caller gets notifications
        that we do not know, too: in the older era servers send what they like on the stream of a call.
        """
        self._log_floor = log_floor
        self._passes_on = passes_on
        session.under_way += 1
        self._session = session
        self._reply = reply
        self._request_id = request_id
        self._progress_token = progress_token
        self._declared = declared
        self._deadline = deadline
        self._breaker = breaker
        self._on_change = on_change
        self._queue: deque[Envelope] = deque()
        self._received = 0
        self._resumes = 0
        self._asked = 0
        self._is_done = False
        self._is_closed = False
        self._is_paused = False
        self._unanswered: set[bytes] | None = None
        content_type = reply.header("content-type")
        if content_type != "application/json":
            content_type = (content_type or "").partition(";")[0].strip().lower()
        self._content_type = content_type
        self._parser = SseParser(RESULT_LIMIT) if content_type == "text/event-stream" else None
        self._pace: Pace | None = None

    async def receive(self) -> UpstreamMessage:
        """The next message that concerns the caller.

        Raises:
            BackendMisbehaved, BackendTimeout, BackendUnavailable, ResultTooLarge: The call failed.
        """
        try:
            return await self._receive()
        except EgressError as error:
            problem = relay_error(self._session.backend_name, error, seconds=self._deadline.seconds)
            self._count(problem)
            raise problem from None
        except RelayError as error:
            self._count(error)
            raise

    async def _receive(self) -> UpstreamMessage:
        while True:
            while self._queue:
                envelope = self._queue.popleft()
                if envelope.method:
                    await self._keep_pace(envelope)
                message = self._take(envelope)
                if message is not None:
                    return message
            if self._parser is None:
                await self._read_json()
            elif await self._read_more(self._parser):
                return Pause()

    async def _keep_pace(self, envelope: Envelope) -> None:
        """Before what comes in front of the outcome: however much it is, others have their turn in between."""
        pace = self._pace
        if pace is None:
            is_hosted = self._session.endpoint.ends_by_closing
            pace = self._pace = Pace(rate=None if is_hosted else RATE, ahead=AHEAD)
        if pace.count(len(envelope.params)):
            await pace.rest()
            self._deadline.left(self._session.backend_name)

    def _count(self, error: RelayError) -> None:
        """Neither a large result nor a client that does not answer is a fault of the backend."""
        if not isinstance(error, ResultTooLarge) and not (self._unanswered and isinstance(error, BackendTimeout)):
            self._breaker.failed(error)

    async def close(self) -> None:
        """Let go of the call; without a response yet, the backend is told that it is cancelled."""
        if self._is_closed:
            return
        self._is_closed = True
        self._session.under_way -= 1
        if self._is_done:
            if self._parser is not None and not self._reply.is_complete:
                self._session.aside.spawn(_read_out(self._reply))
                return
            await self._reply.close()
            return
        await self._reply.close()
        self._session.cancel(self._request_id)

    # --- reading --------------------------------------------------------------------------------------------------
    async def _read_json(self) -> None:
        """Read the one JSON document of the reply into the queue."""
        if self._content_type != "application/json":
            raise self._misbehaved("the response is neither JSON nor an event stream")
        left = self._deadline.left(self._session.backend_name)
        self._decode(await self._reply.read(limit=RESULT_LIMIT, timeout=left))
        for envelope in self._queue:
            if not envelope.method:
                return
        raise self._misbehaved("the answer to a request holds no response")

    async def _read_more(self, parser: SseParser) -> bool:
        """Read what comes next into the queue. True when the stream ended early and will be resumed the next time."""
        left = self._deadline.left(self._session.backend_name)
        if self._is_paused:
            self._is_paused = False
            await self._resume()
            return False
        chunk = await self._read_chunk(left)
        if chunk is None:
            events = parser.finish()
            if not events:
                self._check_resumable()
                self._is_paused = True
                return True
        else:
            self._received += len(chunk)
            if self._received > STREAM_LIMIT:
                raise ResultTooLarge(self._session.backend_name, STREAM_LIMIT)
            try:
                events = parser.feed(chunk)
            except EventTooLarge:
                raise ResultTooLarge(self._session.backend_name, RESULT_LIMIT) from None
        for event in events:
            self._decode(event)
        return False

    async def _read_chunk(self, left: float) -> bytes | None:
        try:
            return await self._reply.read_chunk(timeout=left)
        except EgressError:
            if self._deadline.left(self._session.backend_name) and self._can_resume():
                return None
            raise

    def _can_resume(self) -> bool:
        return (
            self._parser is not None
            and bool(self._parser.last_event_id)
            and self._session.era is Era.LEGACY
            and not self._session.endpoint.ends_by_closing
            and self._resumes < MAX_RESUMES
        )

    def _check_resumable(self) -> None:
        if not self._can_resume():
            raise self._misbehaved("the stream ended before the response")

    async def _resume(self) -> None:
        """The stream ended before the response: go on where it stopped (2025-11-25, Resumability; SEP-1699)."""
        assert self._parser is not None
        self._resumes += 1
        left = self._deadline.left(self._session.backend_name)
        pause = FIRST_RETRY if self._parser.retry is None else self._parser.retry
        await asyncio.sleep(min(pause, left))
        await self._reply.close()
        left = self._deadline.left(self._session.backend_name)
        self._reply = await self._session.get(self._parser.last_event_id, timeout=left)
        if self._reply.status != 200 or "text/event-stream" not in (self._reply.header("content-type") or ""):
            raise self._misbehaved("the stream ended before the response and could not be resumed")

    def _decode(self, data: bytes) -> None:
        try:
            self._queue.extend(read_envelopes(data))
        except ValueError:
            raise self._misbehaved("it sent something that is not a JSON-RPC message") from None

    # --- understanding --------------------------------------------------------------------------------------------
    def _take(self, envelope: Envelope) -> UpstreamMessage | None:
        if envelope.method:
            if envelope.id:
                return self._take_request(envelope)
            return self._take_notification(envelope)
        if bytes(envelope.id) != self._request_id:
            return self._take_foreign(envelope)
        self._is_done = True
        if envelope.result:
            result = raw_bytes(envelope.result)
            if result[:1] != b"{":
                raise self._misbehaved("the result is not an object")
            self._breaker.succeeded()
            session = self._session
            return Result(result, session.era is _MODERN, session.key.backend_id)
        self._breaker.succeeded()
        if envelope.error:
            return read_failure(envelope.error)
        raise self._misbehaved("the response has neither result nor error")

    def _take_foreign(self, envelope: Envelope) -> Failure | None:
        if envelope.error and bytes(envelope.id) in (b"null", b""):
            self._is_done = True
            return read_failure(envelope.error)
        raise self._misbehaved("it answered a request that was not asked")

    def _take_notification(self, envelope: Envelope) -> Notification | Withdrawal | None:
        method = envelope.method
        if method == "notifications/progress":
            return self._take_progress(envelope)
        if method == "notifications/message":
            if self._log_floor and rank_of(envelope.params) < self._log_floor:
                return None
            return Notification(write_notification(method, raw_bytes(envelope.params)))
        if method == "notifications/cancelled":
            return self._take_withdrawal(envelope)
        if method.endswith(_CHANGED):
            self._on_change(method)
        elif self._passes_on:
            return Notification(write_notification(method, raw_bytes(envelope.params)))
        return None

    def _take_withdrawal(self, envelope: Envelope) -> Withdrawal | None:
        """The backend takes a question back (2025-11-25, Cancellation); one that is not open is none of ours."""
        try:
            fields = read_fields(envelope.params)
        except ValueError:
            return None
        asked = bytes(fields.get("requestId", Raw(b"")))
        if not self._unanswered or asked not in self._unanswered:
            return None
        self._unanswered.discard(asked)
        reason = bytes(fields.get("reason", Raw(b"")))
        return Withdrawal(asked, one_line(reason) if reason[:1] == b'"' else None)

    def _take_progress(self, envelope: Envelope) -> Notification | None:
        """Progress of this very call, with the caller's token put back; any other token is not ours to pass on."""
        if not self._progress_token or read_progress_token(envelope.params) != self._request_id:
            return None
        self._deadline.extend()
        fields = read_fields(envelope.params)
        fields["progressToken"] = Raw(self._progress_token)
        return Notification(write_notification(envelope.method, raw_bytes(Raw(write_fields(fields)))))

    def _take_request(self, envelope: Envelope) -> ServerRequest | None:
        request_id = bytes(envelope.id)
        self._asked += 1
        if self._asked > MAX_SERVER_REQUESTS:
            raise self._misbehaved("it asked its client too many questions during one call")
        if envelope.method == "ping":
            self._session.aside.spawn(self._session.answer(request_id, b'"result":{}'))
            return None
        params = raw_bytes(envelope.params) if envelope.params else None
        refusal = self._refusal(envelope.method, params)
        if refusal is not None:
            self._session.aside.spawn(self._session.answer(request_id, refusal))
            return None
        session = self._session
        unanswered = self._unanswered = self._unanswered or set()
        unanswered.add(request_id)

        async def answer(outcome: bytes) -> None:
            if request_id in unanswered:
                unanswered.discard(request_id)
                session.aside.spawn(session.answer(request_id, one_line(outcome)))

        return ServerRequest(envelope.method, params, answer, request_id)

    def _refusal(self, method: str, params: bytes | None) -> bytes | None:
        """What a client would say that was asked what it did not declare (2025-11-25, Elicitation and Sampling)."""
        if method not in self._declared.methods:
            return _REFUSED
        return _UNDECLARED if self._declared.missing_for(method, params or b"") else None

    def _misbehaved(self, fault: str) -> BackendMisbehaved:
        return BackendMisbehaved(self._session.backend_name, fault)


async def _read_out(reply: Reply) -> None:
    """After the response a stream holds nothing but its end; with that read, its connection serves the next call."""
    try:
        for _ in range(64):
            if await reply.read_chunk(timeout=1.0) is None:
                return
    finally:
        await reply.close()
