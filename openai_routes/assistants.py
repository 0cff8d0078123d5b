"""Which models a tenant has, and what stands behind each: assistants and providers, read from our own state.

Nothing here may contact a provider or a tool server: Open WebUI waits ten seconds for the model list on every page.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.provider import Provider
from gateway_proxy.storage.sql.database import Database

FRESH_SECONDS: Final = 1.0
TENANTS_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class TenantModels:
    """A tenant's assistants and providers as they stood at one moment, by name."""

    assistants: dict[str, Assistant]
    providers: dict[str, Provider]

    def default_provider(self) -> Provider | None:
        """The provider that serves what names none: the one called `default`, else the only one there is."""
        if "default" in self.providers:
            return self.providers["default"]
        return next(iter(self.providers.values())) if len(self.providers) == 1 else None


class ModelDirectory(Protocol):
    """Where the surface looks up models."""

    async def find_models(self, tenant_id: str) -> TenantModels:
        """The tenant's assistants and providers."""


ListModels = Callable[..., tuple[list[Assistant], list[Provider]]]


class StoredModels:
    """The directory over the database. `list_models` takes `(session, *, tenant_id)`; keys are bound by the caller.

    What was read is kept for a second, so that the four requests of one chat turn cost one look-up, and who comes while
    it is read waits for the same; `forget` ends that at once when the admin API changed something, at whichever worker.
    """

    def __init__(self, database: Database, clock: Clock, *, list_models: ListModels) -> None:
        self._database = database
        self._clock = clock
        self._list_models = list_models
        self._kept: OrderedDict[str, tuple[float, TenantModels]] = OrderedDict()
        self._reading: dict[str, asyncio.Task[TenantModels]] = {}

    async def find_models(self, tenant_id: str) -> TenantModels:
        """The tenant's assistants and providers, at most a second old."""
        kept = self._kept.get(tenant_id)
        if kept is not None and self._clock.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        reading = self._reading.get(tenant_id)
        if reading is None:
            reading = self._reading[tenant_id] = asyncio.create_task(self._read(tenant_id))
            reading.add_done_callback(lambda task: self._has_read(tenant_id, task))
        return await asyncio.shield(reading)

    async def _read(self, tenant_id: str) -> TenantModels:
        started = self._clock.monotonic()
        assistants, providers = await self._database.read(self._list_models, tenant_id=tenant_id)
        models = TenantModels({a.name: a for a in assistants}, {p.name: p for p in providers})
        if self._reading.get(tenant_id) is not asyncio.current_task():
            return models  # forgotten while it was read: good for who asked before, and no longer
        self._kept[tenant_id] = (started, models)
        self._kept.move_to_end(tenant_id)
        while len(self._kept) > TENANTS_KEPT:
            self._kept.popitem(last=False)
        return models

    def forget(self, tenant_id: str) -> None:
        """Read anew on the next request of this tenant."""
        self._kept.pop(tenant_id, None)
        self._reading.pop(tenant_id, None)

    def forget_all(self) -> None:
        """The same for every tenant, after a time in which changes may have gone unheard."""
        self._kept.clear()
        self._reading.clear()

    def _has_read(self, tenant_id: str, task: asyncio.Task[TenantModels]) -> None:
        if self._reading.get(tenant_id) is task:
            del self._reading[tenant_id]
        if not task.cancelled():
            task.exception()  # whoever waits gets it; where nobody does any more it is no news
