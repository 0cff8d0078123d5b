"""Sealed columns: values that are only ever stored encrypted, bound to tenant, table, column and row (security K1, K2).

Every sealed column of the schema is listed in `SEALED_COLUMNS`, which key rotation walks. Refresh tokens' grace copies
are not: they are sealed under the presented secret, not under our keys.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, RowMapping, func, select, update
from sqlalchemy.orm import Session

from gateway_proxy.sealing.keyring import KEY_ID_BYTES, Keyring, row_context
from gateway_proxy.storage.sql.tables import backends, key_probes, providers

SEALED_COLUMNS: Final[tuple[Column[Any], ...]] = (
    backends.c.sealed_url,
    backends.c.sealed_args,
    backends.c.sealed_env,
    backends.c.sealed_headers,
    providers.c.sealed_api_key,
    providers.c.sealed_headers,
    key_probes.c.sealed_settings,
)


@dataclass(frozen=True, slots=True)
class RowSeal:
    """Seals and opens the columns of one row. Empty values are NULL, so that nothing is told apart from absent."""

    keyring: Keyring
    tenant_id: str
    table: str
    row_id: str

    def seal(self, column: str, value: Any) -> bytes | None:
        """Seal a JSON value (a string, a list or an object of strings) for the column `sealed_<column>`."""
        if not value:
            return None
        plaintext = json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        return self.keyring.seal(plaintext, context=self._context(column))

    def open(self, column: str, row: RowMapping) -> Any:
        """Open the column `sealed_<column>` of a row; None if it holds nothing.

        Raises:
            KeyUnknown: It is sealed under a key that is not configured.
            SealBroken: It was altered, or belongs to another row.
        """
        sealed = row[f"sealed_{column}"]
        return None if sealed is None else json.loads(self.keyring.open(sealed, context=self._context(column)))

    def _context(self, column: str) -> str:
        return row_context(tenant_id=self.tenant_id, table=self.table, column=column, row_id=self.row_id)


def reseal(session: Session, *, keyring: Keyring, limit: int = 100) -> int:
    """Seal anew, under the first key, up to `limit` values that another key sealed; returns how many it did.

    Call it until it returns 0: each call is a transaction of its own, so a rotation can stop and go on. Rows are locked
    while they are changed, so a definition that is being edited meanwhile is not set back.

    Raises:
        KeyUnknown: A value is sealed under a key that is not configured; see `count_by_key`.
        SealBroken: A value was altered.
    """
    done = 0
    current = b"\x01" + bytes.fromhex(keyring.key_ids[0])
    for column in SEALED_COLUMNS:
        table = column.table
        stale = (
            select(table.c.id, table.c.tenant_id, column)
            .where(column.is_not(None), func.substr(column, 1, len(current)) != current)
            .limit(limit - done)
            .with_for_update(skip_locked=True)
        )
        for row_id, tenant_id, sealed in session.execute(stale).all() if done < limit else ():
            place = column.name.removeprefix("sealed_")
            context = row_context(tenant_id=tenant_id, table=table.name, column=place, row_id=row_id)
            anew = keyring.seal(keyring.open(sealed, context=context), context=context)
            session.execute(update(table).where(table.c.id == row_id).values({column.name: anew}))
            done += 1
    return done


def count_by_key(session: Session) -> Mapping[str, int]:
    """How many values each key id (hex) has sealed, so that a start or a rotation can name a key that is missing."""
    counts: Counter[str] = Counter()
    for column in SEALED_COLUMNS:
        key_id = func.substr(column, 2, KEY_ID_BYTES)
        rows = session.execute(select(key_id, func.count()).where(column.is_not(None)).group_by(key_id))
        counts.update({bytes(key).hex(): number for key, number in rows})
    return counts
