"""Getting a session with a backend: the one that some worker opened before, else a new one, offered to all workers."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from gateway_proxy.backends.caller import Declared
from gateway_proxy.backends.endpoints import SSE_VARIANT, Endpoints
from gateway_proxy.backends.handshake import HANDSHAKE_TIMEOUT, Handshake, NotModern, NotStreamable
from gateway_proxy.backends.session_key import SessionKey
from gateway_proxy.backends.upstream_session import Aside, Endpoint, Minter, UpstreamSession, build_session
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import BackendTimeout, BackendUnavailable, RelayError, StorageUnavailable
from gateway_proxy.domain.session import UpstreamSessionRecord
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

START_MARGIN: Final = 10.0  # for the runner to say itself that a child did not start
_VARIANTS: Final[Mapping[Transport, tuple[str, ...]]] = MappingProxyType({Transport.AUTO: ("", SSE_VARIANT)})


def handshake_seconds(backend: Backend) -> float:
    """The most that a handshake may take: of a child it waits for the start."""
    return backend.start_timeout + START_MARGIN if backend.transport is Transport.STDIO else HANDSHAKE_TIMEOUT


def open_seconds(backend: Backend) -> float:
    """The most that opening a session may take, the look for one that is open and the runner's own part included."""
    return HANDSHAKE_TIMEOUT + handshake_seconds(backend)


class UpstreamRecords(Protocol):
    """What is needed of `sessions.store.SessionStore`."""

    async def find_upstream(self, key: str, *, tenant_id: str) -> UpstreamSessionRecord | None:
        """The session that some worker opened."""

    async def add_upstream(self, record: UpstreamSessionRecord, *, tenant_id: str) -> UpstreamSessionRecord:
        """Offer a session; the first writer wins and the winner is returned."""

    async def remove_upstream(self, key: str, *, tenant_id: str, session_id: str | None) -> None:
        """Forget a session that the backend no longer knows."""


class Opener:
    """Opens, resumes and forgets upstream sessions. Without the shared store (Redis down) a worker keeps its own."""

    def __init__(self, endpoints: Endpoints, records: UpstreamRecords, *, minter: Minter, aside: Aside) -> None:
        self._endpoints = endpoints
        self._records = records
        self._minter = minter
        self._aside = aside

    async def get_session(
        self, backend: Backend, key: SessionKey, declared: Declared, client_info: bytes
    ) -> UpstreamSession:
        """A session for `key`, within `open_seconds`.

        Raises:
            RelayError: The backend could not be started, reached or agreed with.
        """
        try:
            async with asyncio.timeout(open_seconds(backend)):
                known = await self.find_session(backend, key)
                return known or await self._open(backend, key, declared, client_info)
        except TimeoutError:
            raise BackendTimeout(backend.name, open_seconds(backend)) from None

    async def forget(self, session: UpstreamSession) -> None:
        """The backend no longer knows the session: nobody is to resume it."""
        try:
            await self._records.remove_upstream(
                session.key.digest, tenant_id=session.key.tenant_id, session_id=session.record.session_id
            )
        except StorageUnavailable:
            log.warning("upstream_session_not_forgotten", backend=session.backend_name)

    async def retire(self, session: UpstreamSession) -> None:
        """The backend is gone or edited: end its session, and its child if it has one."""
        await self.forget(session)
        try:
            if session.endpoint.ends_by_closing:
                await self._endpoints.stop_child(session.backend_name, session.key)
            else:
                await session.end()
        except RelayError:
            log.warning("child_not_stopped", backend=session.backend_name)

    async def find_session(self, backend: Backend, key: SessionKey) -> UpstreamSession | None:
        """The session that some worker opened before, if the store can tell.

        Raises:
            BackendUnavailable: The definition cannot be used.
        """
        for variant in _VARIANTS.get(backend.transport, ("",)):
            candidate = key.with_variant(variant)
            try:
                record = await self._records.find_upstream(candidate.digest, tenant_id=key.tenant_id)
            except StorageUnavailable:
                return None
            if record is not None:
                endpoint = self._known_endpoint(backend, candidate)
                return build_session(candidate, backend.name, endpoint, record, self._minter, self._aside)
        return None

    def _known_endpoint(self, backend: Backend, key: SessionKey) -> Endpoint:
        if backend.transport in (Transport.STDIO, Transport.SSE) or key.variant == SSE_VARIANT:
            return self._endpoints.known_child(backend, key)
        return self._endpoints.network(backend)

    async def _open(self, backend: Backend, key: SessionKey, declared: Declared, client_info: bytes) -> UpstreamSession:
        if backend.transport in (Transport.STDIO, Transport.SSE):
            return await self._open_child(backend, key, declared, client_info)
        try:
            return await self._shake_hands(backend, key, self._endpoints.network(backend), declared, client_info)
        except NotStreamable:
            if backend.transport is not Transport.AUTO:
                raise BackendUnavailable(backend.name, None, "its URL is not a streamable HTTP endpoint") from None
        return await self._open_child(backend, key.with_variant(SSE_VARIANT), declared, client_info)

    async def _open_child(
        self, backend: Backend, key: SessionKey, declared: Declared, client_info: bytes
    ) -> UpstreamSession:
        endpoint = await self._endpoints.start_child(backend, key)
        try:
            return await self._shake_hands(backend, key, endpoint, declared, client_info)
        except NotModern:
            self._aside.spawn(self._endpoints.stop_child(backend.name, key))
            raise

    async def _shake_hands(
        self, backend: Backend, key: SessionKey, endpoint: Endpoint, declared: Declared, client_info: bytes
    ) -> UpstreamSession:
        seconds = handshake_seconds(backend)
        handshake = Handshake(backend.name, endpoint, key, declared, client_info, self._minter, self._aside, seconds)
        try:
            async with asyncio.timeout(seconds):
                session = await handshake.open()
        except TimeoutError:
            raise BackendTimeout(backend.name, seconds) from None
        except NotStreamable:
            if endpoint.ends_by_closing:
                raise BackendUnavailable(backend.name, None, "it ended while it was being started") from None
            raise
        log.info("upstream_session_opened", backend=backend.name, era=session.era.value)
        return await self._share(session)

    async def _share(self, session: UpstreamSession) -> UpstreamSession:
        try:
            winner = await self._records.add_upstream(session.record, tenant_id=session.key.tenant_id)
        except StorageUnavailable:
            return session
        if winner.session_id == session.record.session_id:
            return session
        if not session.endpoint.ends_by_closing:
            self._aside.spawn(session.end())
        return build_session(session.key, session.backend_name, session.endpoint, winner, self._minter, self._aside)
