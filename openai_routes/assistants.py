"""Which models a tenant has, and what stands behind each: assistants and providers, read from our own state.

Nothing here may contact a provider or a tool server: Open WebUI waits ten seconds for the model list on every page.
"""

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


ListAssistants = Callable[..., list[Assistant]]
ListProviders = Callable[..., list[Provider]]


class StoredModels:
    """The directory over the database. Both functions take `(session, *, tenant_id)`; keys are bound by the caller.

    What was read is kept for a second, so that the four requests of one chat turn cost one look-up; `forget` ends that
    at once in this worker when the admin API changes something.
    """

    def __init__(
        self, database: Database, clock: Clock, *, list_assistants: ListAssistants, list_providers: ListProviders
    ) -> None:
        self._database = database
        self._clock = clock
        self._list_assistants = list_assistants
        self._list_providers = list_providers
        self._kept: OrderedDict[str, tuple[float, TenantModels]] = OrderedDict()

    async def find_models(self, tenant_id: str) -> TenantModels:
        """The tenant's assistants and providers, at most a second old."""
        kept = self._kept.get(tenant_id)
        if kept is not None and self._clock.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        started = self._clock.monotonic()
        models = TenantModels(
            {a.name: a for a in await self._database.read(self._list_assistants, tenant_id=tenant_id)},
            {p.name: p for p in await self._database.read(self._list_providers, tenant_id=tenant_id)},
        )
        self._kept[tenant_id] = (started, models)
        self._kept.move_to_end(tenant_id)
        while len(self._kept) > TENANTS_KEPT:
            self._kept.popitem(last=False)
        return models

    def forget(self, tenant_id: str) -> None:
        """Read anew on the next request of this tenant."""
        self._kept.pop(tenant_id, None)
