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
    was_used: bool = True


class BackendDirectory:
    """The enabled backends per tenant, sorted by name. The same tuple comes back while nothing has changed."""

    def __init__(self, load: Load, clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._swept_at = clock.monotonic()
        self._loading: dict[str, asyncio.Task[tuple[Backend, ...]]] = {}
        self._tasks: set[asyncio.Task[tuple[Backend, ...]]] = set()

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
            held.was_used = True
            age = now - held.loaded_at
            if age < RENEW_AFTER:
                return held.backends
            if age < LIFETIME:
                self._start_loading(tenant_id)
                return held.backends
        return await asyncio.shield(self._start_loading(tenant_id))

    def forget(self, tenant_id: str) -> None:
        """The tenant's backends were edited: the next asker reads them anew, whatever is being read already."""
        held = self._held.get(tenant_id)
        if held is not None:
            held.loaded_at = float("-inf")
        self._loading.pop(tenant_id, None)

    def forget_all(self) -> None:
        """The same for every tenant, after a time in which edits may have gone unheard."""
        for tenant_id in {*self._held, *self._loading}:
            self.forget(tenant_id)

    async def close(self) -> None:
        """Cancel what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_loading(self, tenant_id: str) -> asyncio.Task[tuple[Backend, ...]]:
        task = self._loading.get(tenant_id)
        if task is None:
            task = self._loading[tenant_id] = asyncio.create_task(self._read(tenant_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(_look_at)
        return task

    async def _read(self, tenant_id: str) -> tuple[Backend, ...]:
        started = self._clock.monotonic()
        try:
            found = await self._load(tenant_id)
        finally:
            is_current = self._loading.get(tenant_id) is asyncio.current_task()
            if is_current:
                del self._loading[tenant_id]
        if not is_current:
            return await self.list(tenant_id)  # edited meanwhile: what was found may be the state before
        backends = tuple(sorted((backend for backend in found if backend.enabled), key=lambda backend: backend.name))
        held = self._held.get(tenant_id)
        if held is not None and held.backends == backends:
            backends = held.backends
        self._held[tenant_id] = _Held(backends, started)
        self._forget_unused()
        return backends

    def _forget_unused(self) -> None:
        """Forget tenants that nobody has asked for since the last time."""
        now = self._clock.monotonic()
        if now - self._swept_at < FORGET_AFTER:
            return
        self._swept_at = now
        for tenant_id, held in list(self._held.items()):
            if not held.was_used:
                del self._held[tenant_id]
            held.was_used = False


def _look_at(task: asyncio.Task[tuple[Backend, ...]]) -> None:
    """A renewal that fails while nobody waits is not a loss: the next asker reads again, and hears of it."""
    if not task.cancelled():
        task.exception()
