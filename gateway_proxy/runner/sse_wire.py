"""The wire to an HTTP+SSE server (the transport deprecated in MCP 2025-03-26): one event stream in, POSTs out.

Imported when the first such backend is opened. It connects only to addresses that the gateway's egress guard checked
(`connect_to`), or, without them, to what the guard allows anybody: public addresses. Redirects are followed only for
the stream and within its origin, and the endpoint that the server names must be of the same origin, or the server could
point our POSTs elsewhere.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

from gateway_proxy.domain.errors import AddressForbidden, EgressError
from gateway_proxy.egress.exchange import Http, Reply, RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.origin import PinnedOrigin, Target, parse_target
from gateway_proxy.egress.pinned_http import open_pinned
from gateway_proxy.egress.same_origin import send_within_origin
from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.errors import SpecInvalid, StartFailed, WireClosed
from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.launch import LaunchSpec
from gateway_proxy.runner.sse_events import Event, EventReader

_SILENCE_SECONDS: Final = 3600.0
_POST_SECONDS: Final = 60.0
_UNSENT_BYTES: Final = 16 * 1024 * 1024
_POSTS_AT_ONCE: Final = 32
_LOG_LINES: Final = 100
_GONE: Final = (404, 410)


class SseWire:
    """One connection to an HTTP+SSE server. `on_line` gets each message, `on_end` is called once, at the end."""

    pid: int | None = None
    keeper_pid: int | None = None
    exit_status: int | None = None

    def __init__(
        self, spec: LaunchSpec, *, on_line: Callable[[bytes | Oversized], None], on_end: Callable[[], None]
    ) -> None:
        self._spec = spec
        self._get_headers = _headers(spec, ("accept", "text/event-stream"))
        self._post_headers = _headers(spec, ("content-type", "application/json"))
        self._on_line = on_line
        self._on_end = on_end
        self._http: Http | None = None
        self._endpoint: Target | None = None
        self._reading: asyncio.Task[None] | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_POSTS_AT_ONCE)
        self._unsent = 0
        self._has_ended = False
        self.log: deque[str] = deque(maxlen=_LOG_LINES)

    @property
    def has_ended(self) -> bool:
        """True once the stream is closed."""
        return self._has_ended

    async def start(self) -> None:
        """Open the event stream and wait for the endpoint event.

        Raises:
            StartFailed: The server cannot be reached, is no HTTP+SSE server, or names no endpoint in time.
        """
        try:
            async with asyncio.timeout(self._spec.start_timeout):
                origin = await self._pin()
                self._http = open_pinned(origin)
                reply, target = await self._open_stream(origin)
                named: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
                self._reading = asyncio.create_task(self._read(reply, target, named))
                self._endpoint = await named
        except TimeoutError:
            await self.stop()
            raise StartFailed("it named no SSE endpoint in time") from None
        except AddressForbidden as error:
            await self.stop()
            raise StartFailed("the address of the server may not be reached") from error
        except EgressError as error:
            await self.stop()
            raise StartFailed("the server could not be reached") from error
        except (StartFailed, asyncio.CancelledError):
            await self.stop()
            raise

    def send(self, message: bytes) -> None:
        """POST one message, not waiting for it. When it is refused, a request is answered with an error here.

        Raises:
            WireClosed: The stream has ended, or too much is waiting to be sent.
        """
        if self._has_ended or self._endpoint is None or self._unsent > _UNSENT_BYTES:
            raise WireClosed
        self._unsent += len(message)
        task = asyncio.create_task(self._post(self._endpoint, message))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    def note(self, line: bytes | Oversized) -> None:
        """Remember something that was no message, shortened."""
        text = line.head if isinstance(line, Oversized) else line
        self.log.append(text[:2048].decode("utf-8", "replace").rstrip())

    async def stop(self, *, patience: float = 0.0) -> None:
        """Close the stream and every POST under way; `patience` is for processes."""
        tasks = [task for task in (self._reading, *self._posts) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_http()
        self._end()

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _post(self, endpoint: Target, message: bytes) -> None:
        assert self._http is not None
        fault, status = "the backend could not be reached", 0
        try:
            async with self._slots:
                reply = await self._http.send("POST", endpoint.path, self._post_headers, message, timeout=_POST_SECONDS)
                try:
                    status = reply.status
                    if 200 <= status < 300:
                        return
                    fault = f"the backend refused the message with status {status}"
                finally:
                    await reply.close()
        except EgressError:
            pass
        finally:
            self._unsent -= len(message)
        self._answer_for(message, fault)
        if status in _GONE and self._reading is not None:
            self._reading.cancel()

    def _answer_for(self, message: bytes, fault: str) -> None:
        with contextlib.suppress(jsonrpc.NotAnEnvelope):
            sent = jsonrpc.read_envelope(message)
            if jsonrpc.kind_of(sent) == "request":
                self._on_line(jsonrpc.error_message(bytes(sent["id"]), -32000, fault))

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _pin(self) -> PinnedOrigin:
        assert self._spec.url is not None
        if self._spec.connect_to is None:
            return await EgressGuard().resolve(self._spec.url)
        return PinnedOrigin(parse_target(self._spec.url), tuple(self._spec.connect_to))

    async def _open_stream(self, origin: PinnedOrigin) -> tuple[Reply, Target]:
        assert self._http is not None
        reply, target = await send_within_origin(
            self._http, "GET", origin.target, self._get_headers, b"", timeout=self._spec.start_timeout
        )
        if reply.status != 200:
            status = reply.status
            await reply.close()
            raise StartFailed(f"it answered status {status} instead of an event stream")
        if not (reply.header("content-type") or "").lower().startswith("text/event-stream"):
            await reply.close()
            raise StartFailed("it answered something else than an event stream")
        return reply, target

    async def _read(self, reply: Reply, target: Target, named: "asyncio.Future[Target]") -> None:
        """Read events until the stream ends, however it ends."""
        reader = EventReader()
        try:
            while (chunk := await reply.read_chunk(timeout=_SILENCE_SECONDS)) is not None:
                for event in reader.feed(chunk):
                    self._take_event(event, target, named)
        except EgressError:
            pass  # the end of the stream is what counts
        except StartFailed as error:
            if not named.done():
                named.set_exception(error)
        finally:
            with contextlib.suppress(EgressError):
                await reply.close()
            if not named.done():
                named.set_exception(StartFailed("the stream ended before it named an endpoint"))
            self._end()

    def _take_event(self, event: Event, target: Target, named: "asyncio.Future[Target]") -> None:
        if event.name == "endpoint" and isinstance(event.data, bytes) and not named.done():
            named.set_result(_endpoint(event.data, target))
        elif event.name == "message" and event.data:
            line = event.data
            self._on_line(jsonrpc.flatten(line) if isinstance(line, bytes) else line)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._on_end()

    async def _close_http(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            with contextlib.suppress(EgressError):
                await http.close()


def _headers(spec: LaunchSpec, own: tuple[str, str]) -> RequestHeaders:
    """The backend's headers and ours.

    Raises:
        SpecInvalid: A header that may not be sent.
    """
    ours = (own, ("accept-encoding", "identity"), ("user-agent", "gateway-proxy"))
    try:
        return RequestHeaders(spec.headers.items()).plus(*ours)
    except ValueError as error:
        raise SpecInvalid("headers", "names and values that HTTP allows, and none of our own") from error


def _endpoint(data: bytes, target: Target) -> Target:
    """The endpoint that the server named, if it is of the stream's own origin.

    Raises:
        StartFailed: It is of another origin, or no URL.
    """
    try:
        endpoint = parse_target(urljoin(target.url, data.decode("utf-8", "replace").strip()))
    except (AddressForbidden, ValueError) as error:
        raise StartFailed("the endpoint that it named is no URL") from error
    if (endpoint.scheme, endpoint.host_port) != (target.scheme, target.host_port):
        raise StartFailed("the endpoint that it named is of another origin")
    return endpoint
