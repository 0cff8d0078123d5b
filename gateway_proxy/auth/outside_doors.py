"""What opens /v1 besides issued tokens, as the tenants' configurations say it now. Nobody is let in here.

All of it is read at once and kept for at most two seconds: an unknown key costs no query, and a key that was taken out
of a configuration is refused within that time.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.key_probes import list_every_key_probe
from gateway_proxy.storage.sql.static_keys import list_every_static_key
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

KEPT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class OutsideDoors:
    """Static keys by digest, and the Apiman gateways by how they vouch, each with its tenant."""

    static: Mapping[bytes, tuple[StaticKey, Tenant]] = field(default_factory=dict)
    probes: tuple[tuple[Apiman, Tenant], ...] = ()
    headers: tuple[tuple[Apiman, Tenant], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.static or self.probes or self.headers)


class StoredDoors:
    """The doors of all tenants, from the database."""

    def __init__(self, database: Database, keyring: Keyring, clock: Clock) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._known = OutsideDoors()
        self._good_until = float("-inf")
        self._reading = asyncio.Lock()
        self._told: frozenset[str] = frozenset()

    async def current(self) -> OutsideDoors:
        """What stands in the configurations, at most two seconds old.

        Raises:
            StorageUnavailable: The database does not answer.
        """
        if self._clock.monotonic() < self._good_until:
            return self._known
        async with self._reading:
            asked_at = self._clock.monotonic()
            if asked_at >= self._good_until:
                self._known = await self._read()
                self._good_until = asked_at + KEPT_SECONDS
        return self._known

    async def _read(self) -> OutsideDoors:
        keys = await self._database.read(list_every_static_key)
        settings, unreadable = await self._database.read(partial(list_every_key_probe, keyring=self._keyring))
        self._tell({tenant.slug for tenant in unreadable})
        enabled = [entry for entry in settings if entry[0].enabled]
        return OutsideDoors(
            static={key.digest: (key, tenant) for key, tenant in keys},
            probes=tuple(entry for entry in enabled if entry[0].mode == "gateway_probe"),
            headers=tuple(entry for entry in enabled if entry[0].mode == "trusted_header"),
        )

    def _tell(self, unreadable: set[str]) -> None:
        """Once per tenant, not every two seconds."""
        for slug in sorted(unreadable - self._told):
            log.warning("key_probe_unreadable", tenant=slug)
        self._told = frozenset(unreadable)
