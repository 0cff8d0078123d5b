"""Rows in every table with every kind of value, made from the schema itself, so that no new column is forgotten."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary, insert, select
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.tables import Instant, metadata

ROWS: Final = 3
MOMENT: Final = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
_TEXTS: Final = ("plain", "Zoë 🦆 ünï\u202e", 'quotes \'"\\ \n\t{"a":1}')


def fill(session: Session) -> None:
    """Three rows in each table: texts with odd characters, empty and full values, NULL wherever it may stand."""
    for table in metadata.sorted_tables:
        for number in range(ROWS):
            row = {column.name: _value(column, number) for column in table.columns}
            if table.name == "memberships":
                row["role"] = ("owner", "admin", "member")[number]
            session.execute(insert(table).values(row))


def content(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table as Python values, in one order whatever the database."""
    return {
        table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
    }


def _value(column: Column[Any], number: int) -> Any:
    key = next(iter(column.foreign_keys), None)
    if key is not None:
        return _value(key.column, number)
    if column.nullable and number == 1:
        return None
    if isinstance(column.type, Instant):
        return MOMENT + timedelta(days=100 * number)
    if isinstance(column.type, LargeBinary):
        return bytes([number]) * 31 + b"\xff"
    if isinstance(column.type, JSON):
        return ({}, ["ä", 1.5, None, {"deep": [True]}], {"text": _TEXTS[1], "number": 2**53})[number]
    if isinstance(column.type, Boolean):
        return number != 1
    if isinstance(column.type, Integer):
        return (0, 1, 2**31 - 1)[number]
    if isinstance(column.type, Float):
        return (0.0, 0.1, 300.0)[number]
    return _text(column, number)


def _text(column: Column[Any], number: int) -> str:
    length = getattr(column.type, "length", None)
    if column.primary_key or column.unique or length is None or length > 40:
        start = f"{column.table.name}.{column.name}.{number}"[: length or 100]
        text = f"{start} {_TEXTS[number]}" if length is None or length > 60 else f"{number}{start}"
    else:
        text = f"{number}{_TEXTS[number]}"
    return text[:length] if length else text
