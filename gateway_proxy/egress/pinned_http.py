"""HTTP to checked addresses only: pyreqwest for https, our `http1` for the plain http that an operator allowed.

The name stays in SNI and Host while the connection goes to the address that the guard checked. Redirects, proxies,
cookies and decompression are off: each of them would let the other side choose where we go or how much we read.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, ConnectTimeoutError, PoolTimeoutError, PyreqwestError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from gateway_proxy.domain.errors import ConnectFailed, ReplyBroken, ReplyTimedOut, ReplyTooLarge
from gateway_proxy.egress.exchange import Http, RequestHeaders
from gateway_proxy.egress.http1_pool import CONNECT_TIMEOUT, open_address_http
from gateway_proxy.egress.origin import PinnedOrigin, Target

MAX_CONNECTIONS: Final = 1024
POOL_TIMEOUT: Final = timedelta(seconds=5)
IDLE_TIMEOUT: Final = timedelta(seconds=30)


def open_pinned(origin: PinnedOrigin, *, extra_roots: Sequence[bytes] = ()) -> Http:
    """An `Http` that can reach nothing but the addresses of `origin`. `extra_roots` are PEM certificates to trust."""
    target = origin.target
    if target.scheme == "http":
        return open_address_http(origin.addresses, target.port, authority=target.authority, host=target.host)
    return PinnedHttps(origin, extra_roots=extra_roots)


class PinnedHttps:
    """One pyreqwest client per checked address, made when its turn comes; implements `egress.exchange.Http`."""

    def __init__(self, origin: PinnedOrigin, *, extra_roots: Sequence[bytes] = ()) -> None:
        self._target = origin.target
        self._base = f"https://{origin.target.authority}"
        self._addresses = origin.addresses
        self._extra_roots = tuple(extra_roots)
        self._clients: dict[str, Client] = {}
        self._preferred = 0

    async def send(
        self, method: str, path: str, headers: RequestHeaders, body: bytes, *, timeout: float
    ) -> "PinnedReply":
        """See `egress.exchange.Http`. An address that cannot be connected gives way to the next one."""
        count = len(self._addresses)
        for turn in range(count):
            position = (self._preferred + turn) % count
            try:
                reply = await self._send_to(self._addresses[position], method, path, headers, body, timeout)
            except ConnectFailed:
                if turn == count - 1:
                    raise
                continue
            self._preferred = position
            return reply
        raise ConnectFailed(self._target.host, "no address")

    async def close(self) -> None:
        """See `egress.exchange.Http`."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def retire(self) -> None:
        """See `egress.exchange.Http`. A client that is let go ends with its last reply."""
        self._clients = {}

    async def _send_to(
        self, address: str, method: str, path: str, headers: RequestHeaders, body: bytes, timeout: float
    ) -> "PinnedReply":
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = _build_client(self._target, address, self._extra_roots)
        host = self._target.host
        request = client.request(method, self._base + path).headers(headers.pairs)
        if body or method == "POST":
            request = request.body_bytes(body)
        stream = request.streamed_read_buffer_limit(0).build_streamed()
        try:
            async with asyncio.timeout(timeout):
                return PinnedReply(await stream.__aenter__(), stream, host)
        except (ConnectError, ConnectTimeoutError):
            raise ConnectFailed(host, "no connection") from None
        except PoolTimeoutError:
            raise ConnectFailed(host, "all connections are in use") from None
        except TimeoutError:
            raise ReplyTimedOut(host, timeout) from None
        except PyreqwestError:
            raise ReplyBroken(host, "the connection broke") from None


class PinnedReply:
    """A reply of pyreqwest as `egress.exchange.Reply`."""

    __slots__ = ("_host", "_response", "_stream", "is_complete", "status")

    def __init__(self, response: Response, stream: StreamRequest, host: str) -> None:
        self._response = response
        self._stream: StreamRequest | None = stream
        self._host = host
        self.status = response.status
        self.is_complete = False

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return self._response.get_header(name)

    async def read_chunk(self, *, timeout: float) -> bytes | None:
        """See `egress.exchange.Reply`."""
        try:
            async with asyncio.timeout(timeout):
                chunk = await self._response.body_reader.read_chunk()
        except TimeoutError:
            raise ReplyTimedOut(self._host, timeout) from None
        except PyreqwestError:
            raise ReplyBroken(self._host, "the body ended half-way") from None
        if chunk is None:
            self.is_complete = True
            return None
        return bytes(chunk)

    async def read(self, *, limit: int, timeout: float) -> bytes:
        """See `egress.exchange.Reply`."""
        parts: list[bytes] = []
        size = 0
        while (chunk := await self.read_chunk(timeout=timeout)) is not None:
            size += len(chunk)
            if size > limit:
                raise ReplyTooLarge(self._host, limit)
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        """See `egress.exchange.Reply`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__(None, None, None)


def _build_client(target: Target, address: str, extra_roots: Sequence[bytes]) -> Client:
    builder = (
        ClientBuilder()
        .resolve(target.host, address, target.port)
        .https_only(True)
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT))
        .pool_timeout(POOL_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .max_connections(MAX_CONNECTIONS)
        .error_for_status(False)
    )
    for root in extra_roots:
        builder = builder.add_root_certificate_pem(root)
    return builder.build()
