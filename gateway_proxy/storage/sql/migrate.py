"""Bringing a database to a schema: the steps of `migrations/`, run from code, safe when several replicas start at once.

Only the schema is touched here; the steps themselves stand in `migrations/versions`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

import gateway_proxy
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql.address import database_address, keep_private
from gateway_proxy.storage.sql.failures import is_unavailable
from gateway_proxy.storage.sql.waiting import WAIT_SECONDS

_LOCK: Final = 0x67775F6D6967  # "gw_mig": one migration at a time per PostgreSQL database
_SQLITE_WAIT_SECONDS: Final = 60.0


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`, in one transaction; a second caller waits and then finds nothing to do.

    Raises:
        StorageUnavailable: The database is out of reach.
    """
    async with open_for_schema(url) as connection:
        await connection.run_sync(upgrade_on, revision)


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base" for an empty one). What the younger schema held alone is lost.

    Raises:
        StorageUnavailable: The database is out of reach.
    """
    async with open_for_schema(url) as connection:
        await connection.run_sync(downgrade_on, revision)


def upgrade_on(connection: Connection, revision: str = "head") -> None:
    """`upgrade` inside a transaction of `open_for_schema`."""
    command.upgrade(_configuration(connection), revision)


def downgrade_on(connection: Connection, revision: str) -> None:
    """`downgrade` inside a transaction of `open_for_schema`."""
    command.downgrade(_configuration(connection), revision)


async def current_revision(url: str) -> str | None:
    """The revision that the database is at, None when it was never migrated.

    Raises:
        StorageUnavailable: The database is out of reach.
    """
    async with connect_alone(url) as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


def head_revision() -> str:
    """The newest revision that this version of the gateway knows."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    if head is None:
        raise RuntimeError(f"no migrations found in {_steps()}")
    return head


def known_revisions() -> frozenset[str]:
    """Every revision that this version of the gateway knows."""
    return frozenset(step.revision for step in ScriptDirectory.from_config(_configuration()).walk_revisions())


@asynccontextmanager
async def open_for_schema(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that no other migration runs beside; committed at the end.

    Raises:
        StorageUnavailable: The database is out of reach.
    """
    async with connect_alone(url) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection
        if connection.dialect.name == "sqlite":
            broken = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all()
            if broken:
                raise RuntimeError(f"the migration leaves {len(broken)} rows without what they refer to")


@asynccontextmanager
async def connect_alone(url: str, *, sqlite_begin: str = "BEGIN IMMEDIATE") -> AsyncIterator[AsyncConnection]:
    """One connection of its own, without the time limits of those that serve: for what takes as long as it takes.

    Raises:
        StorageUnavailable: The database is out of reach.
    """
    address = database_address(url)
    is_sqlite = address.get_backend_name() == "sqlite"
    wait: dict[str, Any] = {"timeout": _SQLITE_WAIT_SECONDS if is_sqlite else WAIT_SECONDS}
    engine = create_async_engine(address, poolclass=NullPool, connect_args=wait)
    if is_sqlite:
        keep_private(address)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(sqlite_begin))
    try:
        async with engine.connect() as connection:
            yield connection
    except Exception as error:  # the boundary between drivers and us; whatever is not about reach goes on as it is
        if is_unavailable(error):
            raise StorageUnavailable from error
        raise
    finally:
        await engine.dispose()


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """Foreign keys stay off: alembic rebuilds tables, and dropping the old one would cascade. Checked at the end."""
    connection.isolation_level = None  # we say BEGIN ourselves


def _configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_steps()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _steps() -> Path:
    """`migrations/` stands beside the package, in the repository and in an installed wheel alike."""
    return Path(gateway_proxy.__file__).parent.parent / "migrations"
