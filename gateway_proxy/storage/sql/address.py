"""Where the database is: a URL as operators write it, with what our drivers want filled in. No driver is loaded
here."""

import os
from contextlib import suppress

from sqlalchemy import make_url
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import ArgumentError


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
