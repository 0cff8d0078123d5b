"""Which schema this version of the gateway works with, and which one a database has. Nothing is migrated here.

`migrate` could tell both, but alembic takes a seventh of a start to import, and nearly every start finds nothing to do.
"""

from typing import Final

from sqlalchemy import column, inspect, select, table
from sqlalchemy.orm import Session

SCHEMA_VERSION: Final = "0003"
"""The newest step in `migrations/versions`."""

_VERSIONS: Final = table("alembic_version", column("version_num"))


def find_schema_version(session: Session) -> str | None:
    """The step that the database is at, None when it was never migrated."""
    if not inspect(session.connection()).has_table(_VERSIONS.name):
        return None
    version: str | None = session.execute(select(_VERSIONS.c.version_num)).scalar_one_or_none()
    return version
