"""The broom: calls `purge_expired` every few minutes for as long as a worker lives. What may go is decided there.

Every worker has one. They do not meet: each waits for a time of its own between two rounds, and rows that another one
has locked are passed over.
"""

import asyncio
import secrets
from datetime import timedelta
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.purge import purge_expired
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

PERIOD_SECONDS: Final = 300.0
BREATH_SECONDS: Final = 0.05  # between two batches, so that a purge of months leaves room for those who wait


class Housekeeping:
    """One worker's broom. `refresh_grace` in seconds, `period` the mean time between two rounds in seconds."""

    def __init__(
        self, database: Database, clock: Clock, *, refresh_grace: float, period: float = PERIOD_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._grace = timedelta(seconds=refresh_grace)
        self._period = period
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Sweep now and then until `stop`. A database that is out of reach is tried again at the next round."""
        while not await self._is_stopped_within(self._period * (0.5 + secrets.randbelow(1000) / 1000)):
            try:
                removed = await self.sweep()
            except StorageUnavailable:
                log.warning("housekeeping_put_off", reason="the database cannot be reached")
                continue
            if removed:
                log.info("housekeeping_done", removed=removed)

    async def sweep(self) -> int:
        """Remove what has expired, batch by batch until nothing is left; how many rows that were.

        Raises:
            StorageUnavailable: The database is out of reach; what was removed until then stays removed.
        """
        total = 0
        while True:
            removed = await self._database.run(purge_expired, now=self._clock.now(), refresh_grace=self._grace)
            total += removed
            if not removed or await self._is_stopped_within(BREATH_SECONDS):
                return total

    def stop(self) -> None:
        """Ask `run` to return after the batch under way."""
        self._stopping.set()

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
