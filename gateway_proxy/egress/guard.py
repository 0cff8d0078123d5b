"""The outbound guard: every URL that a person, a client or a tenant gave us passes here before it is fetched.

It resolves once and checks every address; whoever connects afterwards connects to those addresses, so a name that
answers differently the second time (DNS rebinding) gains nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.domain.errors import (
    ConnectFailed,
    FetchFailed,
    ReplyBroken,
    ReplyTimedOut,
    ReplyTooLarge,
)
from gateway_proxy.egress.exchange import Http, RequestHeaders
from gateway_proxy.egress.origin import PinnedOrigin, parse_target
from gateway_proxy.egress.pinned_http import open_pinned
from gateway_proxy.egress.policy import EgressPolicy
from gateway_proxy.egress.resolver import Resolver, SystemResolver

_DOCUMENT_HEADERS: Final = RequestHeaders(
    [("accept", "application/json"), ("accept-encoding", "identity"), ("user-agent", "gateway-proxy")]
)


@dataclass(frozen=True, slots=True)
class FetchedDocument:
    """A document got through the guard. Header names are lower case; only those asked for by caches are kept."""

    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EgressGuard:
    """Resolve, check and pin. `policy` says what is allowed besides public https."""

    policy: EgressPolicy = field(default_factory=EgressPolicy)
    resolver: Resolver = field(default_factory=SystemResolver)
    open_http: Callable[[PinnedOrigin], Http] = open_pinned

    async def resolve(self, url: str, *, allowed_origin: str | None = None) -> PinnedOrigin:
        """Pin a URL to addresses that were all checked. `allowed_origin` is the exact host:port an operator wrote.

        One forbidden address among several is a refusal: a name that also points inside is not to be trusted.

        Raises:
            AddressForbidden: The URL or one of its addresses may not be reached.
            ConnectFailed: The name does not resolve.
        """
        target = parse_target(url)
        self.policy.check_url(target, allowed_origin=allowed_origin)
        addresses = await self.resolver.addresses_of(target.host, target.port)
        for address in addresses:
            self.policy.check_address(target, address, allowed_origin=allowed_origin)
        return PinnedOrigin(target, tuple(addresses))

    async def fetch_document(self, url: str, *, max_bytes: int = 65536, timeout: float = 5.0) -> FetchedDocument:
        """GET a small document from a public https URL that a stranger named. No redirects; 200 only.

        Raises:
            AddressForbidden: It may not be fetched.
            FetchFailed: It could not be fetched; `fault` says why in our words.
        """
        target = parse_target(url)
        if target.scheme != "https":
            raise FetchFailed(target.host, "not https")
        try:
            async with asyncio.timeout(timeout):
                return await self._fetch(url, max_bytes, timeout)
        except (TimeoutError, ReplyTimedOut):
            raise FetchFailed(target.host, "timeout") from None
        except ConnectFailed as error:
            raise FetchFailed(target.host, error.fault) from None
        except ReplyTooLarge:
            raise FetchFailed(target.host, "too large") from None
        except ReplyBroken:
            raise FetchFailed(target.host, "the connection broke") from None

    async def _fetch(self, url: str, max_bytes: int, timeout: float) -> FetchedDocument:
        origin = await self.resolve(url)
        http = self.open_http(origin)
        try:
            reply = await http.send("GET", origin.target.path, _DOCUMENT_HEADERS, b"", timeout=timeout)
            try:
                if reply.status != 200:
                    raise FetchFailed(origin.target.host, f"status {reply.status}")
                if reply.header("content-encoding") not in (None, "identity"):
                    raise FetchFailed(origin.target.host, "content encoding")
                body = await reply.read(limit=max_bytes, timeout=timeout)
                names = ("content-type", "cache-control", "expires", "age", "date", "etag")
                headers = {name: value for name in names if (value := reply.header(name)) is not None}
            finally:
                await reply.close()
        finally:
            await http.close()
        return FetchedDocument(url, body, headers)
