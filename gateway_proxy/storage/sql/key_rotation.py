"""The rotation of the secret keys: every sealed value anew under the first key, one row per transaction (security K2).

It can be stopped at any row and started again, beside gateways that serve. What to say about it does not stand here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.resealing import (
    SealedRow,
    Unreadable,
    count_stale_rows,
    list_stale_rows,
    remove_sealed_row,
    reseal_row,
    sealed_tables,
)

PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did with one table. `resealed` counts values; `removed` are rows whose secrets were lost."""

    table: str
    resealed: int
    unreadable: tuple[Unreadable, ...]
    removed: tuple[SealedRow, ...]
    left: int
    """Rows that another key seals still or again, unreadable ones not counted: a gateway with older keys wrote them."""


async def rotate(
    database: Database,
    keyring: Keyring,
    *,
    removes_unreadable: bool = False,
    tell: Callable[[int], None] = lambda rows: None,
) -> list[Rotated]:
    """Walk every sealed table once. `tell` hears how many rows are done; with `removes_unreadable` lost rows go.

    Raises:
        StorageUnavailable: The database is out of reach; what was done until then stays done.
    """
    walk = _Walk(database, keyring, removes_unreadable, tell)
    return [await walk.table(table) for table in sealed_tables()]


@dataclass(slots=True)
class _Walk:
    database: Database
    keyring: Keyring
    removes_unreadable: bool
    tell: Callable[[int], None]
    rows: int = 0

    async def table(self, table: str) -> Rotated:
        resealed, unreadable, removed = 0, list[Unreadable](), list[SealedRow]()
        after = ""
        while page := await self._page(table, after):
            for row in page:
                done, lost = await self.database.run(self._reseal, row=row)
                resealed += done
                if lost and self.removes_unreadable:
                    removed.append(row)
                else:
                    unreadable += lost
                self.rows += 1
                self.tell(self.rows)
            after = page[-1].id
        stale = await self.database.read(count_stale_rows, table=table, keyring=self.keyring)
        left = max(0, stale - len({entry.row.id for entry in unreadable}))
        return Rotated(table, resealed, tuple(unreadable), tuple(removed), left)

    def _reseal(self, session: Session, *, row: SealedRow) -> tuple[int, list[Unreadable]]:
        done, lost = reseal_row(session, row=row, tenant_id=row.tenant_id, keyring=self.keyring)
        if lost and self.removes_unreadable:
            remove_sealed_row(session, row=row, tenant_id=row.tenant_id)
            done = 0
        return done, lost

    async def _page(self, table: str, after: str) -> list[SealedRow]:
        return await self.database.read(list_stale_rows, table=table, keyring=self.keyring, after=after, limit=PAGE)
