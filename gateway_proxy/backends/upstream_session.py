"""A session with one backend: where its messages are posted and with which headers. Opening it is `handshake`'s."""

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from gateway_proxy.backends.envelope import write_notification, write_response
from gateway_proxy.backends.introduction import Introduction, read_introduction
from gateway_proxy.backends.log_levels import NOTHING
from gateway_proxy.backends.session_key import SessionKey
from gateway_proxy.domain.errors import EgressError
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.session import UpstreamSessionRecord
from gateway_proxy.egress.exchange import Http, Reply, RequestHeaders
from gateway_proxy.egress.origin import Target

ASIDE_TIMEOUT: Final = 5.0
ASIDE_LIMIT: Final = 64 * 1024


class Era(StrEnum):
    """LEGACY has sessions and a handshake (2024-11-05 … 2025-11-25), MODERN carries everything in each request."""

    LEGACY = "legacy"
    MODERN = "modern"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend takes messages: `path` on `http`, with its own credentials in `headers`.

    `ends_by_closing` says that a closed request is a cancelled one there (the runner, and every modern backend).
    `instance` is which life of a child of the runner it is, which stands for a session where the era has none.
    `target` is the URL in parts, for what is not hosted by the runner.
    """

    http: Http
    path: str
    headers: RequestHeaders
    ends_by_closing: bool = False
    instance: str | None = None
    target: Target | None = None


class Minter:
    """Ids of our requests, which serve as progress tokens too: `<worker>-<n>`, unique among workers and restarts."""

    __slots__ = ("_count", "_worker")

    def __init__(self) -> None:
        self._worker = new_id()[:12].encode()
        self._count = 0

    def next_id(self) -> bytes:
        """The next id as raw JSON."""
        self._count += 1
        return b'"%b-%d"' % (self._worker, self._count)


class Aside:
    """Small things done beside the calls (a cancellation, the end of a stream): bounded in time, never awaited."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run it to its end or for `ASIDE_TIMEOUT` seconds; what it raises from egress is nobody's concern."""
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task cancelled before its first step never awaits it

    async def _run(self, work: Coroutine[Any, Any, object]) -> None:
        with contextlib.suppress(EgressError, TimeoutError):
            async with asyncio.timeout(ASIDE_TIMEOUT):
                await work

    async def close(self) -> None:
        """Cancel what is left."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(eq=False, slots=True)
class UpstreamSession:
    """One session, shared by every call with an equal key. `record` is what other workers need to use it too.

    `log_rank` is the least severe log message that this worker has asked for on it (`log_levels`).
    """

    key: SessionKey
    backend_name: str
    endpoint: Endpoint
    record: UpstreamSessionRecord
    era: Era
    headers: RequestHeaders
    minter: Minter
    aside: Aside
    was_used: bool = True
    under_way: int = field(default=0)
    log_rank: int = field(default=NOTHING)
    introduction: Introduction = field(init=False)

    def __post_init__(self) -> None:
        self.introduction = read_introduction(self.record.initialize_result_json)

    def post(self, message: bytes, *, timeout: float, extra: list[tuple[str, str]] | None = None) -> Awaitable[Reply]:
        """POST one message and wait for the head of the reply.

        Raises:
            EgressError: As `egress.exchange.Http.send`.
        """
        headers = self.headers.plus(*extra) if extra else self.headers
        return self.endpoint.http.send("POST", self.endpoint.path, headers, message, timeout=timeout)

    async def get(self, last_event_id: str, *, timeout: float) -> Reply:
        """GET the rest of a broken stream (2025-11-25, Resumability and Redelivery), or what belongs to no call.

        Raises:
            EgressError: As `egress.exchange.Http.send`.
        """
        headers = self.headers.plus(("accept", "text/event-stream"))
        if last_event_id:
            headers = headers.plus(("last-event-id", last_event_id))
        return await self.endpoint.http.send("GET", self.endpoint.path, headers, b"", timeout=timeout)

    async def post_and_forget(self, message: bytes, *, extra: list[tuple[str, str]] | None = None) -> None:
        """POST a notification or a response; only that it went out matters.

        Raises:
            EgressError: It did not.
        """
        reply = await self.post(message, timeout=ASIDE_TIMEOUT, extra=extra)
        try:
            await reply.read(limit=ASIDE_LIMIT, timeout=ASIDE_TIMEOUT)
        finally:
            await reply.close()

    async def answer(self, request_id: bytes, outcome: bytes) -> None:
        """Answer a request of the backend. `outcome` is the whole `"result":…` or `"error":…` member."""
        await self.post_and_forget(write_response(request_id, outcome))

    def cancel(self, request_id: bytes) -> None:
        """Tell the backend that nobody waits for a request any more, where closing it does not say so."""
        if self.era is Era.LEGACY and not self.endpoint.ends_by_closing:
            params = b'{"requestId":%b,"reason":"The caller no longer waits."}' % request_id
            self.aside.spawn(self.post_and_forget(write_notification("notifications/cancelled", params)))

    async def end(self) -> None:
        """DELETE the session at the backend (2025-11-25, Session Management); a backend may refuse that.

        Raises:
            EgressError: It did not go out.
        """
        if self.era is Era.LEGACY and self.record.session_id is not None:
            reply = await self.endpoint.http.send(
                "DELETE", self.endpoint.path, self.headers, b"", timeout=ASIDE_TIMEOUT
            )
            await reply.close()


def build_session(
    key: SessionKey, backend_name: str, endpoint: Endpoint, record: UpstreamSessionRecord, minter: Minter, aside: Aside
) -> UpstreamSession:
    """A session from what is recorded of it: just opened by us, or long ago by another worker."""
    era = Era.MODERN if record.protocol_version >= "2026-07-28" else Era.LEGACY
    extra = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
    if record.session_id is not None:
        extra.append(("mcp-session-id", record.session_id))
    if record.protocol_version >= "2025-06-18":
        extra.append(("mcp-protocol-version", record.protocol_version))
    return UpstreamSession(
        key=key,
        backend_name=backend_name,
        endpoint=endpoint if record.path is None else replace(endpoint, path=record.path),
        record=record,
        era=era,
        headers=endpoint.headers.plus(*extra),
        minter=minter,
        aside=aside,
    )
