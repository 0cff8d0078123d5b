"""Reading a backup into a database, in one transaction: it is there whole, or nothing has changed.

The schema is taken to the revision of the file first and to this version's at the end, so backups of older versions can
be restored. Rows are written as the file describes them, without this version's idea of the tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, TableClause, column, delete, func, insert, inspect, literal, select, table, update
from sqlalchemy.exc import DBAPIError

from gateway_proxy.domain.errors import BackupInvalid, DatabaseNotEmpty
from gateway_proxy.storage.backup.columns import read_value, type_of
from gateway_proxy.storage.backup.file import BackupReader, Header
from gateway_proxy.storage.sql.failures import is_unavailable
from gateway_proxy.storage.sql.migrate import downgrade_on, known_revisions, open_for_schema, upgrade_on
from gateway_proxy.storage.sql.tables import metadata

BATCH: Final = 100
_VERSIONS: Final = "alembic_version"
_REVOCABLE: Final = ("token_families", "access_tokens", "personal_tokens", "browser_sessions")


@dataclass(frozen=True, slots=True)
class Plan:
    """How to restore. With `replaces` what is there goes; with `revokes_tokens` every token and session is ended."""

    now: datetime
    replaces: bool = False
    revokes_tokens: bool = False
    tell: Callable[[int], None] = lambda rows: None


async def restore_backup(url: str, stream: BinaryIO, plan: Plan) -> tuple[Header, Mapping[str, int]]:
    """Write the backup in `stream` to the database at `url`; its header, and the number of rows of each table.

    Raises:
        BackupInvalid: The file is no backup, cut off or damaged, or does not fit the schema it names; or the database
            is at the schema of a later version.
        DatabaseNotEmpty: There are rows already, and they were not to be replaced.
        StorageUnavailable: The database is out of reach.
    """
    reader = BackupReader(stream)
    if reader.header.revision not in known_revisions():
        raise BackupInvalid(
            f"it is of schema {reader.header.revision}, which this version does not know: restore it with the version "
            "that made it, or a later one"
        )
    async with open_for_schema(url) as connection:
        await connection.run_sync(_restore, reader, plan)
    return reader.header, reader.counts


def _restore(connection: Connection, reader: BackupReader, plan: Plan) -> None:
    _make_room(connection, reader.header.revision, replaces=plan.replaces)
    _check_columns(connection, reader.header)
    places = {name: _place(name, columns) for name, columns in reader.header.tables.items()}
    written = 0
    for name, rows in reader.batches(BATCH):
        _insert(connection, places[name], rows, reader.header)
        written += len(rows)
        plan.tell(written)
    for name, count in reader.counts.items():
        if connection.execute(select(func.count()).select_from(places[name])).scalar_one() != count:
            raise BackupInvalid(f"table {name} does not have the number of rows that the file has")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise BackupInvalid("rows of it refer to rows that it does not have")
    upgrade_on(connection)
    if plan.revokes_tokens:
        _revoke_tokens(connection, plan.now)


def _make_room(connection: Connection, revision: str, *, replaces: bool) -> None:
    """An empty schema of the wanted revision."""
    present = [name for name in inspect(connection).get_table_names() if name != _VERSIONS]
    current = MigrationContext.configure(connection).get_current_revision()
    filled = [name for name in present if _has_rows(connection, name)]
    if filled and (current is None or not replaces):
        raise DatabaseNotEmpty(is_ours=current is not None)
    if current is not None and current not in known_revisions():
        raise BackupInvalid(
            f"the database is at schema {current}, which this version does not know: make it an empty one"
        )
    if current == revision:
        for name in [each.name for each in reversed(metadata.sorted_tables) if each.name in filled]:
            connection.execute(delete(table(name)))
        return
    if current is not None:
        downgrade_on(connection, "base")
    upgrade_on(connection, revision)


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(select(literal(1)).select_from(table(name)).limit(1)).first() is not None


def _check_columns(connection: Connection, header: Header) -> None:
    """The file describes the tables of its revision, and nothing else: no other table is ever written."""
    inspector = inspect(connection)
    present = {name for name in inspector.get_table_names() if name != _VERSIONS}
    if present != set(header.tables):
        raise BackupInvalid("its tables are not those of its schema")
    for name, columns in header.tables.items():
        if {each["name"] for each in inspector.get_columns(name)} != {each for each, _ in columns}:
            raise BackupInvalid(f"the columns of table {name} are not those of its schema")


def _place(name: str, columns: list[Any]) -> TableClause:
    return table(name, *(column(each, type_of(kind)) for each, kind in columns))


def _insert(connection: Connection, place: TableClause, rows: list[list[Any]], header: Header) -> None:
    columns = header.tables[place.name]
    try:
        values = [
            {name: read_value(kind, value) for (name, kind), value in zip(columns, row, strict=True)} for row in rows
        ]
        connection.execute(insert(place), values)
    except ValueError:
        raise BackupInvalid(f"table {place.name} has a value of the wrong kind") from None
    except DBAPIError as error:
        if is_unavailable(error):
            raise
        raise BackupInvalid(f"table {place.name} has a row that this database does not take") from None


def _revoke_tokens(connection: Connection, now: datetime) -> None:
    for name in _REVOCABLE:
        place = metadata.tables[name]
        connection.execute(update(place).where(place.c.revoked_at.is_(None)).values(revoked_at=now))
    place = metadata.tables["refresh_tokens"]
    connection.execute(update(place).values(sealed_response=None))
    codes = metadata.tables["authorization_codes"]
    connection.execute(update(codes).where(codes.c.used_at.is_(None)).values(used_at=now))
