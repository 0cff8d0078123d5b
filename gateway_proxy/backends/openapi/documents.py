"""Keeps the last good document of every OpenAPI service in this worker, read and ready for calls."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.openapi.fetching import Fetched, fetch_document
from gateway_proxy.backends.openapi.plan import Hints
from gateway_proxy.backends.openapi.reading import DocumentFault, DocumentReader
from gateway_proxy.backends.openapi.site import Site, build_site, cookies_of, digest_of
from gateway_proxy.backends.upstream_session import Endpoint
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import AddressForbidden, BackendUnavailable
from gateway_proxy.egress.policy import origin_of
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

FAULT_LIFETIME: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a document of this digest is of no use. Reading it again before `until` would only burn time."""

    digest: bytes
    reason: str
    until: float


@dataclass(slots=True)
class _Held:
    """What is kept for one revision of a backend; `turn` lets one fetch at a time."""

    revision: int
    site: Site | None = None
    fault: _Fault | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Documents:
    """The documents of this worker's OpenAPI backends. Failing costs nothing but news: the last good one stays."""

    def __init__(self, endpoints: Endpoints, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._reader = DocumentReader()
        self._held: dict[str, _Held] = {}

    async def get_site(self, backend: Backend) -> Site:
        """The service as last known, else as its document says now.

        Raises:
            RelayError: It is not known, and the document could not be had.
        """
        return self._hold(backend).site or await self.renew(backend)

    async def renew(self, backend: Backend) -> Site:
        """Fetch the document; read it only if it is another than before.

        Raises:
            RelayError: It could not be had, or cannot be used.
        """
        held = self._hold(backend)
        async with held.turn:
            known = held.site
            fetched = await fetch_document(self._source_of(backend), backend.name, etag=known.etag if known else None)
            if known is not None and (fetched is None or digest_of(fetched.body) == known.digest):
                return known
            assert fetched is not None, "unchanged is only answered to one who knows"
            held.site = await self._read(backend, held, fetched)
            log.info("openapi_document_read", backend=backend.name, operations=len(held.site.places))
            return held.site

    def notes_of(self, backend: Backend) -> tuple[str, ...]:
        """What of the document is not offered, and why."""
        held = self._held.get(backend.id)
        return held.site.notes if held is not None and held.site is not None else ()

    def forget(self, backend_id: str, revision: int) -> None:
        """That revision of a backend is gone."""
        held = self._held.get(backend_id)
        if held is not None and held.revision == revision:
            del self._held[backend_id]

    def _hold(self, backend: Backend) -> _Held:
        held = self._held.get(backend.id)
        if held is None or held.revision != backend.revision:
            held = self._held[backend.id] = _Held(backend.revision)
        return held

    async def _read(self, backend: Backend, held: _Held, fetched: Fetched) -> Site:
        digest, fault = digest_of(fetched.body), held.fault
        if fault is None or fault.digest != digest or self._clock.monotonic() >= fault.until:
            try:
                plan = await self._reader.read(fetched.body, _hints_of(backend))
                held.fault = None
                return build_site(backend, self._endpoints, plan, fetched)
            except DocumentFault as found:
                fault = held.fault = _Fault(digest, str(found), self._clock.monotonic() + FAULT_LIFETIME)
        raise BackendUnavailable(backend.name, None, f"its OpenAPI document {fault.reason}")

    def _source_of(self, backend: Backend) -> Endpoint:
        """Where the document is. The credentials are the service's: another origin does not get them."""
        return self._endpoints.network(backend, with_credentials=_is_of_one_origin(backend))


def _is_of_one_origin(backend: Backend) -> bool:
    try:
        return backend.base_url is None or origin_of(backend.base_url) == origin_of(backend.url or "")
    except AddressForbidden:
        return False


def _hints_of(backend: Backend) -> Hints:
    cookies = (part.partition("=")[0].strip() for part in cookies_of(backend).split(";"))
    headers = tuple(name for name in backend.headers if name.lower() != "cookie")
    return Hints(headers, tuple(name for name in cookies if name))
