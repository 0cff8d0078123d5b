"""The schema's steps: up and down on both databases, equal to the tables, and safe when several replicas start."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql import migrate
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.schema_version import SCHEMA_VERSION, find_schema_version
from gateway_proxy.storage.sql.tables import metadata


async def test_the_migrated_schema_equals_the_tables(empty_database_url: str) -> None:
    """Security O2: code and schema never drift apart."""
    await migrate.upgrade(empty_database_url)

    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    async with migrate.open_for_schema(empty_database_url) as connection:
        assert await connection.run_sync(differences) == []


async def test_checks_and_foreign_keys_reach_the_database_under_their_names(empty_database_url: str) -> None:
    """House, Database: constraint naming convention from day one (what alembic does not compare)."""
    await migrate.upgrade(empty_database_url)

    def names(connection: Connection) -> set[str | None]:
        inspector = inspect(connection)
        found: set[str | None] = set()
        for table in metadata.tables:
            found |= {check["name"] for check in inspector.get_check_constraints(table)}
            found |= {key["name"] for key in inspector.get_foreign_keys(table)}
            found.add(inspector.get_pk_constraint(table)["name"])
        return found

    wanted = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if not str(constraint.name).startswith("uq_")
    }
    async with migrate.open_for_schema(empty_database_url) as connection:
        assert wanted == await connection.run_sync(names)


async def test_every_step_goes_down_and_up_again(empty_database_url: str) -> None:
    """House, Database: every migration goes up and down on both databases."""
    await migrate.upgrade(empty_database_url)
    assert await migrate.current_revision(empty_database_url) == migrate.head_revision()
    await migrate.downgrade(empty_database_url, "base")
    assert await migrate.current_revision(empty_database_url) is None
    assert await tables_of(empty_database_url) == {"alembic_version"}
    await migrate.upgrade(empty_database_url)
    assert await tables_of(empty_database_url) == {"alembic_version", *metadata.tables}


async def test_the_version_that_a_start_looks_for_is_the_newest_step(empty_database_url: str) -> None:
    """ADR 12: what alembic would say, told without importing it."""
    database = Database(empty_database_url)
    try:
        assert await database.read(find_schema_version) is None
        await migrate.upgrade(empty_database_url)
        assert await database.read(find_schema_version) == SCHEMA_VERSION == migrate.head_revision()
    finally:
        await database.close()


async def test_replicas_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    """Security O2: an advisory lock; the second finds nothing to do."""
    await asyncio.gather(*(migrate.upgrade(empty_database_url) for _ in range(4)))
    assert await migrate.current_revision(empty_database_url) == migrate.head_revision()


async def test_upgrading_a_current_database_changes_nothing(database_url: str) -> None:
    """Issue 2: `migrate` may be run at every start."""
    await migrate.upgrade(database_url)
    assert await migrate.current_revision(database_url) == migrate.head_revision()


async def test_migrating_a_database_out_of_reach_says_so() -> None:
    """Security O4: one error, whatever the driver calls it."""
    with pytest.raises(StorageUnavailable):
        await migrate.upgrade("postgresql+asyncpg://nobody@127.0.0.1:1/none")


async def tables_of(url: str) -> set[str]:
    """The names of the tables in a database."""
    async with migrate.open_for_schema(url) as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
