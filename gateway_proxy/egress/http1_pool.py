"""Keep-alive connections of `http1` to one place: a unix socket, a pinned address, or TLS with both certificates."""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.errors import ConnectFailed
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.http1 import Http1Connection
from gateway_proxy.egress.http1_reply import Http1Reply

CONNECT_TIMEOUT: Final = 5.0
POOL_TIMEOUT: Final = 5.0
MAX_CONNECTIONS: Final = 1024
IDLE_TIMEOUT: Final = 4.0  # less than the 5 s after which common servers close: whoever closes first has no race

Connect = Callable[[Callable[[], Http1Connection]], Awaitable[object]]


class Http1Pool:
    """An `egress.exchange.Http` over its own connections. A reply keeps its connection until it is read or closed."""

    def __init__(
        self,
        connect: Connect,
        *,
        host: str,
        authority: str,
        max_connections: int = MAX_CONNECTIONS,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._host = host
        self._authority = authority
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        self._idle: deque[Http1Connection] = deque()
        self._open: set[Http1Connection] = set()
        self._connecting = 0
        self._alarms = Alarms()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def send(self, method: str, path: str, headers: RequestHeaders, body: bytes, *, timeout: float) -> Http1Reply:
        """See `egress.exchange.Http`."""
        connection = self._take_idle()
        if connection is None:
            connection = await self._open_one()
        reply = connection.start(method, path, headers, body)
        try:
            await reply.wait_head(timeout)
        except BaseException:
            await reply.close()
            raise
        return reply

    async def close(self) -> None:
        """See `egress.exchange.Http`."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        while self._waiters:
            self._wake_one()

    def retire(self) -> None:
        """See `egress.exchange.Http`."""
        self._is_closed = True
        while self._idle:
            self._idle.popleft().abort()

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    def _keep(self, connection: Http1Connection) -> None:
        """The reply on this connection was read to its end."""
        if self._is_closed:
            connection.abort()
            return
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = connection.loop.call_later(self._idle_timeout, self._reap)
        self._wake_one()

    def _take_idle(self) -> Http1Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
        return None

    async def _open_one(self) -> Http1Connection:
        while len(self._open) + self._connecting >= self._max_connections:
            await self._wait_turn()
            if (connection := self._take_idle()) is not None:
                return connection
        if self._is_closed:
            raise ConnectFailed(self._host, "closed")
        self._connecting += 1
        made: list[Http1Connection] = []

        def make() -> Http1Connection:
            made.append(Http1Connection(self._host, self._authority, self._keep, self._forget, self._alarms))
            return made[-1]

        try:
            await self._connect(make)
        except OSError as error:  # TimeoutError is one
            raise ConnectFailed(self._host, _fault_of(error)) from None
        finally:
            self._connecting -= 1
            self._wake_one()
        connection = made[-1]
        if not connection.is_alive:
            raise ConnectFailed(self._host, "the connection was closed at once")
        self._open.add(connection)
        return connection

    async def _wait_turn(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(POOL_TIMEOUT):
                await waiter
        except TimeoutError:
            raise ConnectFailed(self._host, "all connections are in use") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_one()  # the turn was ours; pass it on
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _forget(self, connection: Http1Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()

    def _reap(self) -> None:
        self._reaper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._idle_timeout
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().abort()
        if self._idle:
            self._reaper = loop.call_at(self._idle[0].idle_since + self._idle_timeout, self._reap)


def open_unix_http(path: str, *, idle_timeout: float = IDLE_TIMEOUT) -> Http1Pool:
    """HTTP over a unix socket: the runner on this host."""

    async def connect(make: Callable[[], Http1Connection]) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().create_unix_connection(make, path)

    return Http1Pool(connect, host="runner", authority="runner", idle_timeout=idle_timeout)


def open_tls_http(host: str, port: int, *, tls: ssl.SSLContext, idle_timeout: float = IDLE_TIMEOUT) -> Http1Pool:
    """HTTPS with a context of our own: the runner on another host, where both sides show a certificate."""

    async def connect(make: Callable[[], Http1Connection]) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().create_connection(make, host, port, ssl=tls, server_hostname=host)

    return Http1Pool(connect, host=host, authority=f"{host}:{port}", idle_timeout=idle_timeout)


def open_address_http(
    addresses: Sequence[str], port: int, *, authority: str, host: str, tls: ssl.SSLContext | None = None
) -> Http1Pool:
    """Http to addresses that the guard has checked, tried in order; `authority` is what Host says.

    With `tls` it is https, and `host` is the name in SNI and the one that the certificate must hold.
    """
    order = list(addresses)

    async def connect(make: Callable[[], Http1Connection]) -> None:
        loop = asyncio.get_running_loop()
        failure: OSError = ConnectionError("no address")
        for address in tuple(order):
            try:
                async with asyncio.timeout(max(1.0, CONNECT_TIMEOUT / len(addresses))):
                    await loop.create_connection(
                        make, address, port, ssl=tls, server_hostname=None if tls is None else host
                    )
            except OSError as error:  # TimeoutError is one
                failure = error
                continue
            order.remove(address)
            order.insert(0, address)  # the next connection begins with what has worked
            return
        raise failure

    return Http1Pool(connect, host=host, authority=authority)


def _fault_of(error: OSError) -> str:
    """A phrase of ours for a failed connect; texts of libraries stay out of messages."""
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens there"
    return "no connection"
