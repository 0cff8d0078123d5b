"""Which backends a tenant has, at most two seconds old in every worker. It reads; edits are made elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.backends import list_backends
from gateway_proxy.storage.sql.database import Database

LIFETIME: Final = 2.0
RENEW_AFTER: Final = 1.0
FORGET_AFTER: Final = 900.0

Load = Callable[[str], Awaitable[Sequence[Backend]]]


@dataclass(slots=True)
class _Held:
    backends: tuple[Backend, ...]
    loaded_at: float
    used_at: float


class BackendDirectory:
    """The enabled backends per tenant, sorted by name. The same tuple comes back while nothing has changed."""

    def __init__(self, load: Load, clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._loading: dict[str, asyncio.Task[tuple[Backend, ...]]] = {}

    @classmethod
    def of_database(cls, database: Database, keyring: Keyring, clock: Clock) -> "BackendDirectory":
        """The directory over the table of backends."""

        async def load(tenant_id: str) -> Sequence[Backend]:
            return await database.read(list_backends, tenant_id=tenant_id, keyring=keyring)

        return cls(load, clock)

    async def list(self, tenant_id: str) -> tuple[Backend, ...]:
        """The tenant's enabled backends. Under load the list is renewed before it is too old, so nobody waits for it.

        Raises:
            StorageUnavailable: It has to be read and cannot be.
        """
        now = self._clock.monotonic()
        held = self._held.get(tenant_id)
        if held is not None:
            held.used_at = now
            age = now - held.loaded_at
            if age < RENEW_AFTER:
                return held.backends
            if age < LIFETIME:
                self._start_loading(tenant_id)
                return held.backends
        return await asyncio.shield(self._start_loading(tenant_id))

    async def close(self) -> None:
        """Cancel what is being read."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    def _start_loading(self, tenant_id: str) -> asyncio.Task[tuple[Backend, ...]]:
        task = self._loading.get(tenant_id)
        if task is None:
            task = self._loading[tenant_id] = asyncio.create_task(self._read(tenant_id))
            task.add_done_callback(_look_at)
        return task

    async def _read(self, tenant_id: str) -> tuple[Backend, ...]:
        started = self._clock.monotonic()
        try:
            found = await self._load(tenant_id)
        finally:
            self._loading.pop(tenant_id, None)
        backends = tuple(sorted((backend for backend in found if backend.enabled), key=lambda backend: backend.name))
        held = self._held.get(tenant_id)
        if held is not None and held.backends == backends:
            backends = held.backends
        self._held[tenant_id] = _Held(backends, started, self._clock.monotonic())
        self._forget_unused()
        return backends

    def _forget_unused(self) -> None:
        now = self._clock.monotonic()
        for tenant_id in [key for key, held in self._held.items() if now - held.used_at > FORGET_AFTER]:
            del self._held[tenant_id]


def _look_at(task: asyncio.Task[tuple[Backend, ...]]) -> None:
    """A renewal that fails while nobody waits is not a loss: the next asker reads again, and hears of it."""
    if not task.cancelled():
        task.exception()
