"""Fresh databases with the migrated schema, by copying a template: a test costs milliseconds instead of a migration."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway_proxy.storage.sql import migrate
from tests.support.postgres import create_database, drop_database, run_aside


@contextmanager
def postgres_template(server: str) -> Iterator[str]:
    """A migrated PostgreSQL database to copy from; nobody may be connected to it while it is copied."""
    with postgres_database(server) as url:
        run_aside(migrate.upgrade(url))
        yield url


@contextmanager
def postgres_database(server: str, *, template: str | None = None) -> Iterator[str]:
    """A PostgreSQL database for one test."""
    url = create_database(server, template=template)
    try:
        yield url
    finally:
        drop_database(server, url)


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
