"""The engine for SQLite, by aiosqlite. Loaded only where it is used (ADR 12)."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.engine.url import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gateway_proxy.storage.sql.address import keep_private
from gateway_proxy.storage.sql.waiting import WAIT_SECONDS

_BEGIN: Final = "gateway_begin"
WRITES: Final[Mapping[str, str]] = {_BEGIN: "BEGIN IMMEDIATE"}


def open_engine(address: URL, *, pool_size: int) -> AsyncEngine:
    """An engine with time limits on everything that can wait."""
    keep_private(address)
    engine = create_async_engine(address, connect_args={"timeout": WAIT_SECONDS}, **_pool_of(address, pool_size))
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _pool_of(address: URL, pool_size: int) -> dict[str, Any]:
    """A database in memory lives in its one connection, and SQLAlchemy picks the pool for that itself."""
    if address.database in (None, "", ":memory:"):
        return {}
    return {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": WAIT_SECONDS}


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """WAL lets readers go on beside the writer; FULL keeps a spent code spent through a power cut."""
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    with suppress(sqlite3.OperationalError):  # kept in the file, and somebody else is just setting it
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
