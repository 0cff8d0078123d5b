"""An `Http` for one URL that stays pinned to checked addresses and checks anew when the name may have moved."""

import asyncio
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import ConnectFailed
from gateway_proxy.egress.exchange import Http, Reply, RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.origin import PinnedOrigin

PIN_LIFETIME: Final = 60.0
RETRY_AFTER_FAILED_LOOKUP: Final = 5.0


class GuardedHttp:
    """Sends to the origin of one URL. Addresses are looked up and checked at most every `PIN_LIFETIME` seconds."""

    def __init__(self, guard: EgressGuard, url: str, *, allowed_origin: str | None, clock: Clock) -> None:
        self._guard = guard
        self._url = url
        self._allowed_origin = allowed_origin
        self._clock = clock
        self._http: Http | None = None
        self._origin: PinnedOrigin | None = None
        self._fresh_until = 0.0
        self._pinning = asyncio.Lock()

    async def send(self, method: str, path: str, headers: RequestHeaders, body: bytes, *, timeout: float) -> Reply:
        """See `egress.exchange.Http`."""
        http = self._http
        if http is None or self._clock.monotonic() >= self._fresh_until:
            http = await self._pin()
        try:
            return await http.send(method, path, headers, body, timeout=timeout)
        except ConnectFailed:
            self._fresh_until = 0.0  # the name may have moved
            raise

    async def close(self) -> None:
        """See `egress.exchange.Http`."""
        http, self._http, self._origin = self._http, None, None
        if http is not None:
            await http.close()

    def retire(self) -> None:
        """See `egress.exchange.Http`."""
        http, self._http, self._origin = self._http, None, None
        if http is not None:
            http.retire()

    async def _pin(self) -> Http:
        async with self._pinning:
            if self._http is not None and self._clock.monotonic() < self._fresh_until:
                return self._http
            try:
                origin = await self._guard.resolve(self._url, allowed_origin=self._allowed_origin)
            except ConnectFailed:
                if self._http is None:
                    raise
                self._fresh_until = self._clock.monotonic() + RETRY_AFTER_FAILED_LOOKUP
                return self._http
            self._fresh_until = self._clock.monotonic() + PIN_LIFETIME
            if self._http is None or self._origin is None or set(origin.addresses) != set(self._origin.addresses):
                self.retire()
                self._http, self._origin = self._guard.open_http(origin), origin
            return self._http
