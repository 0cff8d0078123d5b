"""INSERT … ON CONFLICT, which SQLAlchemy has per dialect, and writing a definition by its name. No table is here.

The dialect of the session is loaded already; the other one, and its driver, would be 3 MB for nothing (ADR 12).
"""

import importlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import RowMapping, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import AlreadyExists
from gateway_proxy.storage.sql.failures import is_duplicate

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert_for(session: Session, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing` in the dialect of this session."""
    dialect = importlib.import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    statement: postgresql.Insert | sqlite.Insert = dialect.insert(table)
    return statement


class Definition(Protocol):
    """A value that a tenant owns under a name and that counts its changes."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> int: ...


D = TypeVar("D", bound=Definition)


def put_definition(
    session: Session,
    *,
    table: Table,
    tenant_id: str,
    value: Any,
    read: Callable[[RowMapping], D | None],
    write: Callable[[D], dict[str, Any]],
    now: datetime,
) -> D:
    """Insert or update by tenant and name. The first revision is 1; it goes up only when something changed.

    Of two concurrent inserts the second waits for the first and becomes an update. `read` may answer None for a row
    that cannot be read any more, which then counts as changed.
    """
    if value.tenant_id != tenant_id:
        raise ValueError(f"{table.name} {value.name!r} belongs to another tenant")
    row = _lock(session, table, tenant_id, value.name)
    if row is None:
        first: D = replace(value, revision=1)
        try:
            with session.begin_nested():
                session.execute(insert(table).values(**write(first), created_at=now, updated_at=now))
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            row = _lock(session, table, tenant_id, value.name)
            if row is None:
                raise AlreadyExists(table.name, value.id) from error
        else:
            return first
    same: D = replace(value, id=row["id"], revision=row["revision"])
    if read(row) == same:
        return same
    changed: D = replace(value, id=row["id"], revision=row["revision"] + 1)
    session.execute(update(table).where(table.c.id == changed.id).values(**write(changed), updated_at=now))
    return changed


def _lock(session: Session, table: Table, tenant_id: str, name: str) -> RowMapping | None:
    statement = select(table).where(table.c.tenant_id == tenant_id, table.c.name == name).with_for_update()
    return session.execute(statement).mappings().one_or_none()
