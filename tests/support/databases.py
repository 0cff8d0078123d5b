"""Fresh databases with the migrated schema, by copying a template: a test costs milliseconds instead of a migration."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import make_url

from gateway_proxy.storage.sql import migrate
from gateway_proxy.storage.sql.tables import metadata
from tests.support.postgres import create_database, driver_url, drop_database, execute, run_aside

EMPTY: Final = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables))
DISCONNECT: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """A PostgreSQL database for one test, without a schema."""
    url = create_database(server)
    try:
        yield url
    finally:
        drop_database(server, url)


@contextmanager
def owned_postgres(server: str, *, attributes: str = "") -> Iterator[str]:
    """A database without a schema, and a login of its own that owns it and is no superuser."""
    name = f"gw_Owner_{secrets.token_hex(6)}"
    url = create_database(server)
    try:
        execute(server, f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'owner' {attributes}")
        execute(server, f'ALTER DATABASE "{make_url(url).database}" OWNER TO "{name}"')
        yield make_url(url).set(username=name, password="owner").render_as_string(hide_password=False)
    finally:
        drop_database(server, url)
        execute(server, f'DROP ROLE IF EXISTS "{name}"')


class MigratedPostgres:
    """Migrated PostgreSQL databases of one worker: made once, lent to one test at a time, emptied in between."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._free: list[str] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        """A migrated database without rows."""
        url = self._free.pop() if self._free else self._make()
        try:
            yield url
        finally:
            if run_aside(_empty(url)):
                self._free.append(url)
            else:
                drop_database(self._server, url)

    def drop(self) -> None:
        """Remove what was made."""
        while self._free:
            drop_database(self._server, self._free.pop())

    def _make(self) -> str:
        url = create_database(self._server)
        run_aside(migrate.upgrade(url))
        return url


async def _empty(url: str) -> bool:
    """Disconnect everybody and delete every row; whether that worked (a test may have changed more than rows)."""
    try:
        connection = await asyncpg.connect(driver_url(url), timeout=5, command_timeout=5)
        try:
            await connection.execute(DISCONNECT)
            await connection.execute(EMPTY)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def sqlite_template(directory: Path) -> Path:
    """A migrated SQLite file to copy from. Closing the last connection has written its WAL back."""
    path = directory / "template.db"
    run_aside(migrate.upgrade(sqlite_address(path)))
    return path


def copy_sqlite(template: Path, directory: Path) -> str:
    """A SQLite database for one test."""
    path = directory / "gateway.db"
    shutil.copyfile(template, path)
    return sqlite_address(path)


def sqlite_address(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"
