"""Connections to providers: resolved and pinned by the egress guard, kept per provider revision, failures in our words.

Nothing of the caller's request headers may pass here: a provider gets what its own configuration says and no more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import ConnectFailed, EgressError, ReplyBroken, ReplyTimedOut, ReplyTooLarge
from gateway_proxy.domain.provider import Provider
from gateway_proxy.egress.exchange import Http, Reply, RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.guarded_http import GuardedHttp
from gateway_proxy.egress.origin import parse_target
from gateway_proxy.telemetry.logs import debug_switch, get_log
from openai_routes.errors import (
    ChatError,
    ProviderMisbehaved,
    ProviderRefused,
    ProviderRefusedCredentials,
    ProviderTimedOut,
    ProviderUnreachable,
)
from openai_routes.providers.failures import read_failure

log = get_log(__name__)
is_debugging = debug_switch(__name__)

OUR_HEADERS: Final = (("user-agent", "gateway-proxy"), ("accept-encoding", "identity"))
CONNECTIONS_KEPT: Final = 512
ERROR_BODY_LIMIT: Final = 64 * 1024
RETRY_PAUSE_SECONDS: Final = 0.25
RETRIED_STATUSES: Final = frozenset({500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class _Line:
    """An open way to one revision of a provider. `path` is that of its base URL, without a slash at the end."""

    revision: int
    http: Http
    path: str
    headers: RequestHeaders


class ProviderConnections:
    """The lines of this worker, one for each provider. `close` on shutdown."""

    def __init__(self, guard: EgressGuard, clock: Clock) -> None:
        self.clock = clock
        self._guard = guard
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()

    async def close(self) -> None:
        """Close every line; replies under way end as broken."""
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            await line.http.close()

    def line(self, provider: Provider, credentials: Iterable[tuple[str, str]]) -> _Line:
        """A line to `provider` as it is configured now; one for an older revision goes when its replies are read.

        Raises:
            AddressForbidden: The base URL is not of the strict form.
            ProviderUnreachable: Its credentials cannot be opened. Nothing of the chat is sent without them.
        """
        if provider.unreadable:
            raise ProviderUnreachable(provider.name, "its key is sealed under a secret key that the gateway has lost")
        key = (provider.tenant_id, provider.id)
        found = self._lines.get(key)
        if found is not None and found.revision == provider.revision:
            self._lines.move_to_end(key)
            return found
        if found is not None:
            self._lines.pop(key).http.retire()
        line = self._lines[key] = self._open(provider, credentials)
        while len(self._lines) > CONNECTIONS_KEPT:
            _, oldest = self._lines.popitem(last=False)
            oldest.http.retire()
        return line

    def _open(self, provider: Provider, credentials: Iterable[tuple[str, str]]) -> _Line:
        target = parse_target(provider.base_url)
        allowed = target.host_port if provider.origin != "tenant" else None
        http = GuardedHttp(self._guard, provider.base_url, allowed_origin=allowed, clock=self.clock)
        own = {name.lower() for name in provider.default_headers}
        given = [(name, value) for name, value in credentials if name not in own]
        try:
            headers = RequestHeaders([*OUR_HEADERS, *given, *provider.default_headers.items()])
        except ValueError:
            raise ProviderUnreachable(provider.name, "one of its configured headers may not be sent") from None
        return _Line(provider.revision, http, target.path.partition("?")[0].rstrip("/"), headers)


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """One provider, its credentials and the way to it: what a translator sends requests with."""

    provider: Provider
    credentials: tuple[tuple[str, str], ...]
    connections: ProviderConnections
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        headers: tuple[tuple[str, str], ...],
        may_retry: bool,
        passes_errors: bool = False,
    ) -> AsyncGenerator[Reply, None]:
        """Send a request and yield its reply, which is closed at the end. `path` is relative to the base URL.

        With `may_retry`, a refused connection or a 5xx is tried once more, before anything was read.

        Raises:
            ChatError: A provider leaf; with `passes_errors` only for replies that never came.
            AddressForbidden: The provider's address may not be reached.
        """
        with _in_our_words(self.provider):
            line = self.connections.line(self.provider, self.credentials)
            reply = await self._send(line, method, line.path + path, line.headers.plus(*headers), body, may_retry)
            try:
                if reply.status >= 300 and not passes_errors:
                    raise await _failure_of(reply, self.provider)
                yield reply
            finally:
                await reply.close()

    async def _send(
        self, line: _Line, method: str, path: str, headers: RequestHeaders, body: bytes, may_retry: bool
    ) -> Reply:
        if may_retry:
            try:
                reply = await self._send_once(line, method, path, headers, body)
            except (ConnectFailed, ReplyBroken):
                pass
            else:
                if reply.status not in RETRIED_STATUSES or reply.header("retry-after") is not None:
                    return reply
                await reply.close()
            await self.pause(RETRY_PAUSE_SECONDS)
        return await self._send_once(line, method, path, headers, body)

    async def _send_once(self, line: _Line, method: str, path: str, headers: RequestHeaders, body: bytes) -> Reply:
        began = self.connections.clock.monotonic()
        said: dict[str, object] = {}
        try:
            reply = await line.http.send(method, path, headers, body, timeout=self.provider.timeout)
            said["status"] = reply.status
        except EgressError as error:
            said["reason"] = type(error).__name__
            raise
        finally:
            if is_debugging():
                milliseconds = round((self.connections.clock.monotonic() - began) * 1000)
                log.debug("provider_asked", provider=self.provider.name, milliseconds=milliseconds, **said)
        return reply

    async def read_chunk(self, reply: Reply) -> bytes | None:
        """The next bytes of a reply, None at its end."""
        return await reply.read_chunk(timeout=self.provider.timeout)

    async def read(self, reply: Reply, *, limit: int) -> bytes:
        """The whole body of a reply."""
        return await reply.read(limit=limit, timeout=self.provider.timeout)


class _in_our_words:  # noqa: N801 - reads as a phrase at its one use
    """Turns the failures of the exchange into the provider leaves of this surface."""

    def __init__(self, provider: Provider) -> None:
        self._name = provider.name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConnectFailed):
            raise ProviderUnreachable(self._name, error.fault) from None
        if isinstance(error, ReplyTimedOut):
            raise ProviderTimedOut(self._name, error.seconds) from None
        if isinstance(error, ReplyBroken):
            raise ProviderMisbehaved(self._name, "the connection broke") from None
        if isinstance(error, ReplyTooLarge):
            raise ProviderMisbehaved(self._name, f"more than {error.limit} bytes") from None


async def _failure_of(reply: Reply, provider: Provider) -> ChatError:
    """The error that a reply with a status of 300 or more stands for."""
    name = provider.name
    if reply.status in (401, 403, 407):
        return ProviderRefusedCredentials(name, reply.status)
    if reply.status < 400:
        return ProviderMisbehaved(name, f"it redirects (status {reply.status})")
    try:
        body = await reply.read(limit=ERROR_BODY_LIMIT, timeout=min(provider.timeout, 10.0))
    except (ReplyTooLarge, ReplyBroken, ReplyTimedOut):
        body = b""
    found = read_failure(body, secrets=provider.secrets)
    return ProviderRefused(
        name,
        reply.status,
        found.message or f"status {reply.status}",
        found.type,
        found.param,
        found.code,
        reply.header("retry-after"),
    )
