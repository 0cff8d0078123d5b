"""The door to the database: one engine, one transaction per decision, one error when it is out of reach.

Storage functions are plain `def f(session, *, …)`; everybody enters through `run` (writes) or `read`. A transaction is
never held across a wait for anything else. Whoever enters with a `tenant_id` finds the rows of that tenant only,
whatever the function asks for (`tenant_wall`). No query and no schema stands here.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from types import ModuleType
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql.address import database_address
from gateway_proxy.storage.sql.failures import is_unavailable
from gateway_proxy.storage.sql.tenant_wall import TenantWall, find_tenant_wall
from gateway_proxy.storage.sql.waiting import DEADLINE_SECONDS, QUEUE_SECONDS

P = ParamSpec("P")
T = TypeVar("T")


def load_driver(url: str) -> ModuleType:
    """Import what reaches this kind of database, at a moment of the caller's choosing."""
    kind = "sqlite" if database_address(url).get_backend_name() == "sqlite" else "postgres"
    return importlib.import_module(f"gateway_proxy.storage.sql.{kind}_engine")


class Database:
    """One database, PostgreSQL (asyncpg) or SQLite (aiosqlite). Opened lazily; one per process and event loop."""

    def __init__(self, url: str, *, pool_size: int = 10, deadline: float | None = None) -> None:
        """Prepare the pool; nothing is connected yet. `url` may be written without a driver.

        `deadline` is what one transaction may take, in seconds, from asking for a connection to its commit.
        """
        address = database_address(url)
        is_sqlite = address.get_backend_name() == "sqlite"
        driver = load_driver(url)
        self._deadline = deadline or (QUEUE_SECONDS if is_sqlite else DEADLINE_SECONDS)
        self._engine: AsyncEngine = driver.open_engine(address, pool_size=pool_size)
        self._writer = self._engine.execution_options(**driver.WRITES)
        # SQLite lets one writer in at a time and lets the others poll; in a process a fair queue is kinder than that.
        self._turn = asyncio.Lock() if is_sqlite else None
        self._has_walls = not is_sqlite
        self._wall: TenantWall | None = None  # as the first who had to stay behind it has found it

    async def run(self, f: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `f(session, …)` in one write transaction: commit when it returns, roll back when it raises.

        A function that must keep a decision and also refuse returns a value; raising would undo the decision.

        Raises:
            StorageUnavailable: The database is out of reach, out of connections, locked or too slow.
        """
        tenant_id = self._find_tenant_id(kwargs)
        async with (
            _unavailability(self._deadline),
            self._my_turn(),
            AsyncSession(self._writer) as session,
            session.begin(),
        ):
            if tenant_id is not None:
                await session.run_sync(self._shut_in, tenant_id=tenant_id)
            return await session.run_sync(f, *args, **kwargs)

    async def read(self, f: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `f(session, …)`, which only reads; on SQLite it waits for no writer.

        Raises:
            StorageUnavailable: As for `run`.
        """
        tenant_id = self._find_tenant_id(kwargs)
        engine = self._engine if tenant_id is None else self._writer  # a wall is raised inside a transaction
        async with _unavailability(self._deadline), AsyncSession(engine) as session, session.begin():
            if tenant_id is not None:
                await session.run_sync(self._shut_in, tenant_id=tenant_id)
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

    def _find_tenant_id(self, kwargs: Mapping[str, object]) -> str | None:
        """Behind whose wall a function is called, where there are walls."""
        tenant_id = kwargs.get("tenant_id") if self._has_walls else None
        return tenant_id if isinstance(tenant_id, str) else None

    def _shut_in(self, session: Session, *, tenant_id: str) -> None:
        wall = self._wall or find_tenant_wall(session)
        if wall is not None and wall.tables:
            self._wall = wall
            wall.shut_in(session, tenant_id=tenant_id)

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        async with self._turn if self._turn is not None else nullcontext():
            yield


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
