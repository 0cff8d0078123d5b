"""Expired rows: what the workers' own brooms had time to remove, and what goes once everything has expired."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from benchmarks.stores import Stores
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.housekeeping import PERIOD_SECONDS, Housekeeping

LONGEST_PERIOD: Final = timedelta(seconds=PERIOD_SECONDS * 1.5 + 30)
AHEAD: Final = timedelta(days=60)
_OVERDUE: Final = "SELECT count(*) FROM access_tokens WHERE expires_at < $1"


@dataclass(frozen=True, slots=True)
class ClockAhead:
    """The clock of a day when everything has expired."""

    clock: SystemClock

    def now(self) -> datetime:
        """Two months from now."""
        return self.clock.now() + AHEAD

    def monotonic(self) -> float:
        """As it is."""
        return self.clock.monotonic()


async def count_overdue(database: asyncpg.Connection) -> int:
    """Access tokens that the workers should have removed by now: there has been a round since they expired."""
    overdue: int = await database.fetchval(_OVERDUE, SystemClock().now() - LONGEST_PERIOD)
    return overdue


async def sweep_ahead(stores: Stores) -> int:
    """Let the gateway's broom sweep on a day when everything has expired; how many rows went."""
    database = Database(stores.database_url)
    try:
        return await Housekeeping(database, ClockAhead(SystemClock()), refresh_grace=30).sweep()
    finally:
        await database.close()
