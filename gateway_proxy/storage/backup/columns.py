"""How each kind of column is written in a backup, whichever database it came from. No table is named here."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary, String, Text
from sqlalchemy.types import TypeEngine

from gateway_proxy.storage.sql.tables import Instant

Kind = Literal["text", "integer", "number", "boolean", "bytes", "instant", "json"]


@dataclass(frozen=True, slots=True)
class _Written:
    """The type that a kind is stored as, and how its JSON value becomes ours again (ValueError: it is none)."""

    type: TypeEngine[Any]
    read: Callable[[Any], Any]


def kind_of(column: Column[Any]) -> Kind:
    """The kind of a column of the schema."""
    for kind, types in _TYPES:
        if isinstance(column.type, types):
            return kind
    raise TypeError(f"{column.table.name}.{column.name}: no way to write a {column.type!r} into a backup")


def type_of(kind: Kind) -> TypeEngine[Any]:
    """The type to store values of a kind with."""
    return _KINDS[kind].type


def read_value(kind: Kind, value: Any) -> Any:
    """A value as the database takes it, from what stands in the file.

    Raises:
        ValueError: It is of another kind.
    """
    return None if value is None else _KINDS[kind].read(value)


def _exactly(*types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in types:
            raise ValueError
        return value

    return read


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, binascii.Error):
        raise ValueError from None


def _instant(value: Any) -> datetime:
    if type(value) is not str:
        raise ValueError
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError
    return instant


_KINDS: Final[dict[Kind, _Written]] = {
    "text": _Written(Text(), _exactly(str)),
    "integer": _Written(Integer(), _exactly(int)),
    "number": _Written(Float(), _exactly(float, int)),
    "boolean": _Written(Boolean(), _exactly(bool)),
    "bytes": _Written(LargeBinary(), _bytes),
    "instant": _Written(Instant(), _instant),
    "json": _Written(JSON(none_as_null=True), lambda value: value),
}
_TYPES: Final[tuple[tuple[Kind, type[Any]], ...]] = (
    ("instant", Instant),
    ("bytes", LargeBinary),
    ("json", JSON),
    ("boolean", Boolean),
    ("integer", Integer),
    ("number", Float),
    ("text", String),
)
