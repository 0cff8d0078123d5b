"""Statements of a key rotation: which rows another key has sealed, and sealing one of them anew (security K2, F16).

They walk `SEALED_COLUMNS`, so no column is listed twice. The loop over them stands in `key_rotation`. What is returned
says where a value stands, never the value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, Table, delete, func, literal, or_, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import KeyUnknown, SealBroken
from gateway_proxy.sealing.keyring import KEY_ID_BYTES, Keyring, row_context
from gateway_proxy.storage.sql.sealed import SEALED_COLUMNS
from gateway_proxy.storage.sql.tables import metadata

_TENANTS: Final = metadata.tables["tenants"]


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row with sealed columns, by the names that an operator knows: table, tenant, and its own name if it has one."""

    table: str
    id: str
    tenant_id: str
    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.table} {self.tenant}/{self.name}" if self.name else f"{self.table} {self.tenant}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A sealed column that does not open. `key_id` is the key that is missing; None if the value was altered."""

    row: SealedRow
    column: str
    key_id: str | None

    def __str__(self) -> str:
        if self.key_id is None:
            return f"{self.row}: {self.column} was altered or moved, and cannot be opened"
        return f"{self.row}: {self.column} is sealed under key {self.key_id}, which is not in GATEWAY_SECRET_KEYS"


def sealed_tables() -> tuple[str, ...]:
    """The tables that have sealed columns."""
    return tuple(dict.fromkeys(column.table.name for column in SEALED_COLUMNS))


def list_stale_rows(session: Session, *, table: str, keyring: Keyring, after: str, limit: int) -> list[SealedRow]:
    """The next rows by id, after `after`, with a value that another key than the first has sealed."""
    stale = or_(*(_is_stale(column, keyring) for column in _columns_of(table)))
    place = metadata.tables[table]
    statement = _rows(place).where(place.c.id > after, stale).order_by(place.c.id).limit(limit)
    return [SealedRow(table, *row) for row in session.execute(statement)]


def count_stale_rows(session: Session, *, table: str, keyring: Keyring) -> int:
    """How many rows of a table have a value that another key than the first has sealed."""
    stale = or_(*(_is_stale(column, keyring) for column in _columns_of(table)))
    return session.execute(select(func.count()).select_from(metadata.tables[table]).where(stale)).scalar_one()


def reseal_row(session: Session, *, row: SealedRow, tenant_id: str, keyring: Keyring) -> tuple[int, list[Unreadable]]:
    """Seal the values of one row anew under the first key; how many that were, and which could not be opened.

    The row is locked first, so an edit under way is waited for and never set back. It is the only row that the
    transaction locks: no deadlock is possible with somebody who edits several. A row that is gone counts as nothing.
    """
    table = metadata.tables[row.table]
    here = (table.c.id == row.id, table.c.tenant_id == tenant_id)
    found = session.execute(select(*_columns_of(row.table)).where(*here).with_for_update()).mappings().one_or_none()
    anew: dict[str, bytes] = {}
    unreadable = []
    for column, sealed in (found or {}).items():
        if sealed is None or keyring.is_current(sealed):
            continue
        place = column.removeprefix("sealed_")
        context = row_context(tenant_id=tenant_id, table=row.table, column=place, row_id=row.id)
        try:
            anew[column] = keyring.seal(keyring.open(sealed, context=context), context=context)
        except KeyUnknown as error:
            unreadable.append(Unreadable(row, place, error.key_id))
        except SealBroken:
            unreadable.append(Unreadable(row, place, None))
    if anew:
        session.execute(update(table).where(*here).values(anew))
    return len(anew), unreadable


def remove_sealed_row(session: Session, *, row: SealedRow, tenant_id: str) -> None:
    """Remove a definition whose secrets are lost."""
    table = metadata.tables[row.table]
    session.execute(delete(table).where(table.c.id == row.id, table.c.tenant_id == tenant_id))


def count_sealed(session: Session) -> Mapping[tuple[str, str], int]:
    """How many values of each table each key has sealed, by table and key id (hex)."""
    counts: dict[tuple[str, str], int] = {}
    for column in SEALED_COLUMNS:
        key_id = func.substr(column, 2, KEY_ID_BYTES)
        for key, number in session.execute(
            select(key_id, func.count()).where(column.is_not(None)).group_by(key_id)
        ).all():
            place = (column.table.name, bytes(key).hex())
            counts[place] = counts.get(place, 0) + number
    return counts


def list_foreign(session: Session, *, keyring: Keyring, limit: int) -> list[Unreadable]:
    """Values sealed under a key that is not configured, up to `limit`. Nothing is opened for it."""
    known = [bytes.fromhex(key_id) for key_id in keyring.key_ids]
    found: list[Unreadable] = []
    for column in SEALED_COLUMNS:
        key_id = func.substr(column, 2, KEY_ID_BYTES)
        statement = _rows(column.table, key_id).where(column.is_not(None), key_id.not_in(known))
        for *row, key in session.execute(statement.order_by(column.table.c.id).limit(limit - len(found))):
            place = column.name.removeprefix("sealed_")
            found.append(Unreadable(SealedRow(column.table.name, *row), place, bytes(key).hex()))
    return found


def _columns_of(table: str) -> Sequence[Column[Any]]:
    return [column for column in SEALED_COLUMNS if column.table.name == table]


def _is_stale(column: Column[Any], keyring: Keyring) -> ColumnElement[bool]:
    header = keyring.current_header
    return column.is_not(None) & (func.substr(column, 1, len(header)) != header)


def _rows(table: Any, *more: ColumnElement[Any]) -> Select[Any]:
    """Id, tenant id, tenant and name of a table's rows, and `more`."""
    assert isinstance(table, Table)
    name = table.c.name if "name" in table.c else literal("")
    joined = table.join(_TENANTS, _TENANTS.c.id == table.c.tenant_id)
    return select(table.c.id, table.c.tenant_id, _TENANTS.c.slug, name, *more).select_from(joined)
