"""Writing a backup: every row of every table as they were at one moment, beside gateways that serve.

PostgreSQL: a REPEATABLE READ, READ ONLY transaction. SQLite: one read transaction. Neither waits for a writer or makes
one wait, and rows are read as a stream, so memory does not grow with the database.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import BinaryIO, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import SchemaMismatch
from gateway_proxy.storage.backup.columns import kind_of
from gateway_proxy.storage.backup.file import BackupWriter, Header
from gateway_proxy.storage.sql.migrate import connect_alone, head_revision
from gateway_proxy.storage.sql.resealing import count_sealed
from gateway_proxy.storage.sql.tables import metadata

BATCH: Final = 100


async def write_backup(
    url: str, stream: BinaryIO, *, now: datetime, tell: Callable[[int], None] = lambda rows: None
) -> tuple[Header, Mapping[str, int]]:
    """Write the database at `url` to `stream`; the header, and the number of rows of each table.

    Raises:
        SchemaMismatch: The database is not at this version's schema.
        StorageUnavailable: It is out of reach.
    """
    async with _open_snapshot(url) as connection:
        header = await connection.run_sync(_header, now)
        writer, rows = BackupWriter(stream, header), 0
        for table in metadata.sorted_tables:
            writer.start_table(str(table.name))
            statement = select(table).order_by(*table.primary_key.columns)
            async with connection.stream(statement, execution_options={"yield_per": BATCH}) as found:
                async for batch in found.partitions(BATCH):
                    writer.add_rows(batch)
                    rows += len(batch)
                    tell(rows)
        return header, writer.finish()


@asynccontextmanager
async def _open_snapshot(url: str) -> AsyncIterator[AsyncConnection]:
    async with connect_alone(url, sqlite_begin="BEGIN") as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            yield connection


def _header(connection: Connection, now: datetime) -> Header:
    revision, wanted = MigrationContext.configure(connection).get_current_revision(), head_revision()
    if revision != wanted:
        raise SchemaMismatch(revision, wanted)
    key_ids = {key_id for _, key_id in count_sealed(Session(bind=connection))}
    tables = {
        str(table.name): [(str(column.name), kind_of(column)) for column in table.columns]
        for table in metadata.sorted_tables
    }
    return Header(revision=wanted, created_at=now, key_ids=sorted(key_ids), tables=tables)
