"""What every command needs, a worker too: settings, clock, database and keys, opened and closed together.

Commands import this and not `services`: what only a worker needs (Redis, the ways to backends) takes as long to import
as most commands take to run.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.clock import Clock, SystemClock
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.database import Database


@dataclass(frozen=True)
class Core:
    """What every command needs."""

    settings: Settings
    clock: Clock
    database: Database
    keyring: Keyring
    hasher: PasswordHasher


@asynccontextmanager
async def open_core(settings: Settings, *, deadline: float | None = None) -> AsyncIterator[Core]:
    """The database and the keys, for as long as the context lasts. `deadline`: see `Database`."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database_url, deadline=deadline)
    try:
        yield Core(settings, SystemClock(), database, Keyring(settings.secret_keys), PasswordHasher())
    finally:
        await database.close()
