"""The door to the database: one engine, one transaction per decision, one error when it is out of reach.

Storage functions are plain `def f(session, *, …)`; everybody enters through `run` (writes) or `read`. A transaction is
never held across a wait for anything else. No query and no schema stands here.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql.failures import is_unavailable

P = ParamSpec("P")
T = TypeVar("T")

WAIT_SECONDS: Final = 4.0  # for a connection, for a lock, for one statement
DEADLINE_SECONDS: Final = (
    4.5  # for all of that together: somebody waits for the answer, 503 after 5 s (security D4, O4)
)
COMMAND_SECONDS: Final = 60.0  # for the same of a command, which may write a whole tenant in one transaction
_FAREWELL_SECONDS: Final = 0.25  # for closing a connection; a server that is frozen is not waited for
_QUEUE_SECONDS: Final = 10.0  # of SQLite, where nothing freezes, but writers stand in line
_BEGIN: Final = "gateway_begin"
_SQLITE_WRITES: Final = {_BEGIN: "BEGIN IMMEDIATE"}
_POSTGRES_WRITES: Final = {"isolation_level": "READ COMMITTED"}


class Database:
    """One database, PostgreSQL (asyncpg) or SQLite (aiosqlite). Opened lazily; one per process and event loop."""

    def __init__(self, url: str, *, pool_size: int = 10, deadline: float | None = None) -> None:
        """Prepare the pool; nothing is connected yet. `url` may be written without a driver.

        `deadline` is what one transaction may take, in seconds, from asking for a connection to its commit.
        """
        address = database_address(url)
        self._is_sqlite = address.get_backend_name() == "sqlite"
        self._deadline = deadline or (_QUEUE_SECONDS if self._is_sqlite else DEADLINE_SECONDS)
        self._engine = open_engine(address, pool_size=pool_size)
        self._writer = self._engine.execution_options(**(_SQLITE_WRITES if self._is_sqlite else _POSTGRES_WRITES))
        # SQLite lets one writer in at a time and lets the others poll; in a process a fair queue is kinder than that.
        self._turn = asyncio.Lock() if self._is_sqlite else None

    async def run(self, f: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `f(session, …)` in one write transaction: commit when it returns, roll back when it raises.

        A function that must keep a decision and also refuse returns a value; raising would undo the decision.

        Raises:
            StorageUnavailable: The database is out of reach, out of connections, locked or too slow.
        """
        async with (
            _unavailability(self._deadline),
            self._my_turn(),
            AsyncSession(self._writer) as session,
            session.begin(),
        ):
            return await session.run_sync(f, *args, **kwargs)

    async def read(self, f: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `f(session, …)`, which only reads; on SQLite it waits for no writer.

        Raises:
            StorageUnavailable: As for `run`.
        """
        async with _unavailability(self._deadline), AsyncSession(self._engine) as session, session.begin():
            return await session.run_sync(f, *args, **kwargs)

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StorageUnavailable: It gives none.
        """
        async with _unavailability(self._deadline), self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        async with self._turn if self._turn is not None else nullcontext():
            yield


def database_address(url: str) -> URL:
    """Read a database URL; a missing driver and libpq's `sslmode` are filled in with what our drivers want.

    Raises:
        ValueError: It is no URL, or of a database that we do not use. The URL is not repeated: it holds a password.
    """
    try:
        address = make_url(url)
        backend = address.get_backend_name()
    except (ArgumentError, ValueError):
        raise ValueError("expected a database URL such as postgresql+asyncpg://user:password@host/name") from None
    if backend in ("postgresql", "postgres"):
        query = dict(address.query)
        if "sslmode" in query:
            query["ssl"] = query.pop("sslmode")
        return address.set(drivername="postgresql+asyncpg", query=query)
    if backend == "sqlite":
        return address.set(drivername="sqlite+aiosqlite")
    raise ValueError("expected a postgresql or sqlite database URL")


def keep_private(address: URL) -> None:
    """Make a new file readable by its owner only: password hashes are in it. SQLite gives its WAL the same mode."""
    path = address.database or ":memory:"
    if path == ":memory:" or path.startswith("file:"):
        return
    with suppress(OSError):  # it is there already, or cannot be made: the first connection says so better
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def open_engine(address: URL, *, pool_size: int) -> AsyncEngine:
    """An engine with time limits on everything that can wait."""
    if address.get_backend_name() == "sqlite":
        return _open_sqlite(address, pool_size=pool_size)
    return create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT",  # of reads, and of the ping before each use: one round trip each instead of three
        connect_args={
            "connection_class": _Connection,
            "timeout": WAIT_SECONDS,
            "command_timeout": WAIT_SECONDS + 0.25,  # the server gives up first, unless it is frozen
            "server_settings": {
                "application_name": "gateway-proxy",
                "statement_timeout": str(int(WAIT_SECONDS * 1000)),
                "lock_timeout": str(int(WAIT_SECONDS * 800)),
                "idle_in_transaction_session_timeout": str(int(COMMAND_SECONDS * 1000)),
            },
        },
    )


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # of a library without types
    """A connection that is not held on to: SQLAlchemy would let a server that does not answer have two seconds more."""

    async def close(self, *, timeout: float | None = None) -> None:
        """Say good-bye, and hang up on a server that does not."""
        await super().close(timeout=_FAREWELL_SECONDS if timeout is None else min(timeout, _FAREWELL_SECONDS))


def _open_sqlite(address: URL, *, pool_size: int) -> AsyncEngine:
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


@asynccontextmanager
async def _unavailability(deadline: float) -> AsyncIterator[None]:
    """Turn "out of reach" into our error, and put an end to whatever waits too long."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except Exception as error:  # the boundary between drivers and us; whatever is not about reach goes on as it is
        if is_unavailable(error):
            raise StorageUnavailable from error
        raise
