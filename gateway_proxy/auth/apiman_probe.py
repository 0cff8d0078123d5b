"""Asking an Apiman gateway whether it knows a key (compatibility D14). Whose caller that makes one is not said here.

Everything but a 2xx is a no: a gateway that cannot be asked opens nothing.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import EgressError
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.guarded_http import GuardedHttp
from gateway_proxy.egress.origin import parse_target
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

OUTCOMES_KEPT: Final = 10_000
WAYS_KEPT: Final = 64
PROBES_AT_ONCE: Final = 64
UNANSWERED_SECONDS: Final = 2.0
"""How long "could not be asked" holds: long enough that a dead gateway is not asked for every request."""

Place = tuple[str, Apiman, bytes]


class ApimanProbes:
    """One worker's questions to Apiman gateways, and their answers for as long as the settings say."""

    def __init__(self, guard: EgressGuard, clock: Clock, *, outcomes: int = OUTCOMES_KEPT) -> None:
        self._guard = guard
        self._clock = clock
        self._outcomes = outcomes
        # (tenant, settings, key digest) → good until. Two tables: a flood of wrong keys drives no good one out.
        self._vouched: dict[Place, float] = {}
        self._refused: dict[Place, float] = {}
        self._flights: dict[Place, asyncio.Task[bool]] = {}
        self._ways: OrderedDict[Apiman, GuardedHttp] = OrderedDict()
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE)

    async def is_vouched_for(self, secret: str, digest: bytes, settings: Apiman, tenant: Tenant) -> bool:
        """Whether the tenant's gateway knows the key; asked at most once at a time and every `cache_ttl` seconds."""
        place = (tenant.id, settings, digest)
        now = self._clock.monotonic()
        if self._vouched.get(place, now) > now:
            return True
        if self._refused.get(place, now) > now:
            return False
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = asyncio.create_task(self._ask_and_keep(secret, place, tenant))
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """Ask no more and close the connections."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        for way in self._ways.values():
            await way.close()
        self._ways.clear()

    async def _ask_and_keep(self, secret: str, place: Place, tenant: Tenant) -> bool:
        settings = place[1]
        asked_at = self._clock.monotonic()
        try:
            status = await self._ask(secret, settings, tenant)
        finally:
            del self._flights[place]
        is_good = status is not None and 200 <= status < 300
        is_answer = status is not None and status < 500 and status != 429
        self._vouched.pop(place, None)
        self._refused.pop(place, None)
        table = self._vouched if is_good else self._refused
        while len(table) >= self._outcomes:
            del table[next(iter(table))]
        table[place] = asked_at + (settings.cache_ttl if is_answer else min(settings.cache_ttl, UNANSWERED_SECONDS))
        return is_good

    async def _ask(self, secret: str, settings: Apiman, tenant: Tenant) -> int | None:
        """The status of the answer, None when there is none within `timeout` seconds in all. The key is not logged."""
        try:
            async with asyncio.timeout(settings.timeout), self._slots:
                return await self._get(secret, settings)
        except TimeoutError:
            log.warning("key_probe_failed", tenant=tenant.slug, reason="it did not answer in time")
        except EgressError as error:
            log.warning("key_probe_failed", tenant=tenant.slug, reason=type(error).__name__)
        return None

    async def _get(self, secret: str, settings: Apiman) -> int:
        target = parse_target(settings.probe_url)
        headers = RequestHeaders(
            [("accept", "*/*"), ("user-agent", "gateway-proxy"), (settings.api_key_header, secret)]
        )
        way = self._way(settings, target.host_port)
        reply = await way.send("GET", target.path, headers, b"", timeout=settings.timeout)
        try:
            return reply.status
        finally:
            await reply.close()

    def _way(self, settings: Apiman, host_port: str) -> GuardedHttp:
        """The operator wrote the URL, so exactly its host and port are allowed, wherever they are."""
        way = self._ways.get(settings)
        if way is None:
            way = self._ways[settings] = GuardedHttp(
                self._guard, settings.probe_url, allowed_origin=host_port, clock=self._clock
            )
        self._ways.move_to_end(settings)
        while len(self._ways) > WAYS_KEPT:
            _, oldest = self._ways.popitem(last=False)
            oldest.retire()
        return way
