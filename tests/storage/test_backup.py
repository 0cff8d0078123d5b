"""Backups: what one database holds is what the other gets, whole or not at all; on PostgreSQL and SQLite."""

import asyncio
import gzip
import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import BackupInvalid, DatabaseNotEmpty, SchemaMismatch
from gateway_proxy.storage.backup.dump import write_backup
from gateway_proxy.storage.backup.restore import Plan, restore_backup
from gateway_proxy.storage.sql import migrate
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.tables import audit_events, browser_sessions, metadata, personal_tokens, token_families
from tests.support.clock import START
from tests.support.factories import make_tenant
from tests.support.full_database import MOMENT, ROWS, content, fill


@pytest.fixture
def other_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """An empty database of the other kind, without a schema."""
    url: str = request.getfixturevalue("empty_postgres_url" if "sqlite" in database_url else "empty_sqlite_url")
    return url


@pytest.fixture
async def full(database: Database) -> Database:
    """A database with rows in every table."""
    await database.run(fill)
    return database


async def written(url: str) -> bytes:
    """A backup."""
    stream = io.BytesIO()
    await write_backup(url, stream, now=START)
    return stream.getvalue()


async def restored(url: str, file: bytes, **plan: Any) -> None:
    """A backup back into a database."""
    await restore_backup(url, io.BytesIO(file), Plan(START, **plan))


async def content_of(url: str) -> Any:
    """What a database holds."""
    database = Database(url)
    try:
        return await database.read(content)
    finally:
        await database.close()


def column_of(session: Session, statement: Any) -> list[Any]:
    """One column."""
    return list(session.execute(statement).scalars())


def changed(file: bytes, change: Callable[[list[Any]], None], *, fits: bool = False) -> bytes:
    """A backup with other lines; with `fits`, numbers and checksum are made to fit them."""
    lines = [msgspec.json.decode(line) for line in gzip.decompress(file).splitlines()]
    change(lines)
    if fits:
        end = lines.pop()
        end["rows"], table = {}, ""
        for line in lines[1:]:
            table = line["table"] if isinstance(line, dict) else table
            end["rows"][table] = end["rows"].get(table, -1) + 1
        end["sha256"] = hashlib.sha256(b"".join(msgspec.json.encode(line) + b"\n" for line in lines)).hexdigest()
        lines.append(end)
    return gzip.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


async def test_every_row_goes_to_the_other_database_and_back(full: Database, database_url: str, other_url: str) -> None:
    """Issue: a backup of SQLite restores into PostgreSQL and the other way round; every table, every kind of value."""
    before = await full.read(content)

    await restored(other_url, await written(database_url))
    there = await content_of(other_url)
    await restored(database_url, await written(other_url), replaces=True)

    assert {name: len(rows) for name, rows in before.items()} == dict.fromkeys(metadata.tables, ROWS)
    assert there == before
    assert await full.read(content) == before
    assert await migrate.current_revision(other_url) == migrate.head_revision()


async def test_the_same_rows_make_the_same_file(full: Database, database_url: str, other_url: str) -> None:
    """Two backups can be compared, whichever database they came from."""
    first = await written(database_url)
    await restored(other_url, first)

    assert gzip.decompress(first) == gzip.decompress(await written(other_url))


async def test_a_backup_is_one_moment_whatever_is_written_meanwhile(database: Database, database_url: str) -> None:
    """Issue: a consistent dump, taken beside gateways that serve."""
    await make_tenant(database, "before")
    writing = 0

    def add(session: Session, number: int) -> None:
        session.execute(insert(audit_events).values(id=f"{number:032}", event="e", at=MOMENT, detail={"n": "x" * 200}))

    for number in range(20):
        await database.run(add, number)

    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            nonlocal writing
            writing += 1
            return super().write(data)

    async def write_on() -> None:
        for number in range(20, 60):
            await database.run(add, number)

    stream = Slow()
    await asyncio.gather(write_backup(database_url, stream, now=START), write_on())
    lines = [json.loads(line) for line in gzip.decompress(stream.getvalue()).splitlines()]
    ids = sorted(int(line[0]) for line in lines if isinstance(line, list) and len(line) == 7)

    assert ids == list(range(len(ids)))
    assert len(ids) >= 20
    assert lines[-1]["rows"]["audit_events"] == len(ids)


async def test_what_was_revoked_stays_revoked(full: Database, database_url: str, other_url: str) -> None:
    """Security F15; nothing that was ended comes alive by a restore."""
    await restored(other_url, await written(database_url))

    for table in (token_families, personal_tokens, browser_sessions):
        statement = select(table.c.revoked_at).order_by(table.c.created_at)
        before = await full.read(column_of, statement)
        after = (await content_of(other_url))[table.name]
        place = list(table.columns.keys()).index("revoked_at")
        assert sorted(map(str, before)) == sorted(str(row[place]) for row in after)
        assert {str(None)} < {str(value) for value in before}


async def test_every_token_can_be_ended_with_the_restore(full: Database, database_url: str, other_url: str) -> None:
    """What was revoked after the backup must not come alive where that matters."""
    await restored(other_url, await written(database_url), revokes_tokens=True)

    there = await content_of(other_url)
    for table in ("token_families", "access_tokens", "personal_tokens", "browser_sessions"):
        place = list(metadata.tables[table].columns.keys()).index("revoked_at")
        assert all(row[place] is not None for row in there[table]), table
    used = list(metadata.tables["authorization_codes"].columns.keys()).index("used_at")
    assert all(row[used] is not None for row in there["authorization_codes"])


async def test_rows_that_are_there_are_not_overwritten_unasked(full: Database, database_url: str) -> None:
    """Issue: restore only into an empty schema."""
    file, before = await written(database_url), await full.read(content)

    with pytest.raises(DatabaseNotEmpty):
        await restored(database_url, file)
    assert await full.read(content) == before

    await make_tenant(full, "later")
    await restored(database_url, file, replaces=True)
    assert await full.read(content) == before


async def test_a_database_of_another_program_is_left_alone(full: Database, database_url: str, other_url: str) -> None:
    """--replace removes what is ours, and nothing else."""
    file, stranger = await written(database_url), Database(other_url)
    await stranger.run(lambda session: session.execute(text("CREATE TABLE theirs (a INTEGER)")))
    await stranger.run(lambda session: session.execute(text("INSERT INTO theirs VALUES (1)")))

    with pytest.raises(DatabaseNotEmpty):
        await restored(other_url, file, replaces=True)

    assert await stranger.read(lambda session: session.execute(text("SELECT count(*) FROM theirs")).scalar()) == 1
    await stranger.close()


async def test_a_backup_of_an_older_version_is_restored_and_brought_up(database_url: str) -> None:
    """Issue: an empty schema is taken to the file's revision first and then upgraded."""
    older = _older(await _written_at_head(database_url))

    await restored(database_url, older)

    assert await migrate.current_revision(database_url) == migrate.head_revision()
    assert {row[1] for row in (await content_of(database_url))["tenants"]} == {"old"}


async def _written_at_head(url: str) -> bytes:
    await migrate.upgrade(url)
    database = Database(url)
    await make_tenant(database, "old")
    file = await written(url)
    await database.run(lambda session: session.execute(text("DELETE FROM tenants")))
    await database.close()
    return file


def _older(file: bytes) -> bytes:
    """The file as the version before migration 0002 wrote it: without its tables."""
    gone = {"static_keys", "key_probes"}

    def change(lines: list[Any]) -> None:
        lines[0]["revision"] = "0001"
        for name in gone:
            del lines[0]["tables"][name]
        lines[:] = [line for line in lines if not (isinstance(line, dict) and line.get("table") in gone)]

    return changed(file, change, fits=True)


async def test_a_database_of_another_schema_is_not_backed_up(database_url: str) -> None:
    """A backup says its schema; it must be one that can be restored."""
    await migrate.downgrade(database_url, "0001")

    with pytest.raises(SchemaMismatch):
        await written(database_url)


async def test_a_database_of_a_later_version_is_left_as_it_is(full: Database, database_url: str) -> None:
    """Operations, going back: what a later version has made there cannot be taken down here."""
    file = await written(database_url)
    before = await full.read(content)
    later = text("UPDATE alembic_version SET version_num = '9999'")
    await full.run(lambda session: session.execute(later))

    with pytest.raises(BackupInvalid, match="schema 9999, which this version does not know"):
        await restored(database_url, file, replaces=True)

    assert await full.read(content) == before
    now = text(f"UPDATE alembic_version SET version_num = '{migrate.head_revision()}'")
    await full.run(lambda session: session.execute(now))


def _drop_a_row(lines: list[Any]) -> None:
    lines.pop(next(number for number, line in enumerate(lines) if isinstance(line, list)))


def _change_a_value(lines: list[Any]) -> None:
    next(line for line in lines if isinstance(line, list))[1] = "another"


def _add_a_table(lines: list[Any]) -> None:
    lines.insert(1, {"table": "sqlite_master"})


def _of_a_later_version(lines: list[Any]) -> None:
    lines[0]["version"] = 2


def _of_a_later_schema(lines: list[Any]) -> None:
    lines[0]["revision"] = "9999"


def _without_a_column(lines: list[Any]) -> None:
    lines[0]["tables"]["tenants"].pop()


def _of_another_program(lines: list[Any]) -> None:
    lines[0]["format"] = "pg_dump"


def _go_on_behind_the_end(lines: list[Any]) -> None:
    lines.append(lines[-1])


def _wrong_kind(lines: list[Any]) -> None:
    next(line for line in lines if isinstance(line, list))[1] = 7


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_drop_a_row, "its checksum does not fit"),
        (_change_a_value, "its checksum does not fit"),
        (_add_a_table, "it is damaged"),
        (_of_a_later_version, "it is of version 2, and this gateway reads version 1"),
        (_of_a_later_schema, "it is of schema 9999, which this version does not know"),
        (_without_a_column, "the columns of table tenants are not those of its schema"),
        (_of_another_program, "it is not a backup of the gateway"),
        (_go_on_behind_the_end, "something stands behind its end"),
        (_wrong_kind, "has a value of the wrong kind"),
    ],
)
async def test_a_changed_file_is_refused_and_nothing_is_written(
    full: Database, database_url: str, other_url: str, change: Callable[[list[Any]], None], fault: str
) -> None:
    """Issue: versioned, with counts and a checksum; one transaction."""
    file = changed(await written(database_url), change)
    await migrate.upgrade(other_url)

    with pytest.raises(BackupInvalid) as error:
        await restored(other_url, file)

    assert fault in error.value.fault
    assert not any((await content_of(other_url)).values())
    await restored(other_url, changed(await written(database_url), lambda lines: None))


async def test_a_file_that_was_cut_off_anywhere_is_refused(full: Database, database_url: str, tmp_path: Any) -> None:
    """Issue: a truncated or corrupt file; what was there before stays."""
    file, before = await written(database_url), await full.read(content)
    flipped = bytearray(file)
    flipped[len(file) // 2] ^= 0x55

    for cut in (b"", file[:1], file[:15], file[: len(file) // 2], file[:-1], file[:-9], bytes(flipped), b"x" * 100):
        with pytest.raises(BackupInvalid):
            await restored(database_url, cut, replaces=True)
    assert await full.read(content) == before


async def test_rows_without_what_they_refer_to_are_refused(full: Database, database_url: str, other_url: str) -> None:
    """One transaction: no half of a grant."""

    def without_users(lines: list[Any]) -> None:
        users = lines.index({"table": "users"})
        del lines[users + 1 : users + 1 + ROWS]

    file = changed(await written(database_url), without_users, fits=True)

    with pytest.raises(BackupInvalid) as error:
        await restored(other_url, file)
    assert "does not take" in error.value.fault or "refer to rows that it does not have" in error.value.fault


async def test_memory_does_not_grow_with_the_database(database: Database, database_url: str, other_url: str) -> None:
    """Issue: streaming, bounded memory."""
    rows = 1_600

    def many(session: Session) -> None:
        for start in range(0, rows, 200):
            values = [
                {
                    "id": f"{each:032}",
                    "event": "e",
                    "at": MOMENT + timedelta(seconds=each),
                    "detail": {"t": "x" * 10_000},
                }
                for each in range(start, start + 200)
            ]
            session.execute(insert(audit_events), values)

    await database.run(many)
    with (tmp := io.BytesIO()):
        tracemalloc.start()
        await write_backup(database_url, tmp, now=START)
        _, writing = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        tmp.seek(0)
        await restore_backup(other_url, tmp, Plan(START))
        _, reading = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert max(writing, reading) < 8_000_000  # the rows are 16 MB
    other = Database(other_url)
    assert await other.read(lambda s: s.execute(select(func.count()).select_from(audit_events)).scalar()) == rows
    await other.close()
