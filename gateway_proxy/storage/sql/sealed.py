"""Sealed columns: values that are only ever stored encrypted, bound to tenant, table, column and row (security K1, K2).

Every sealed column of the schema is listed in `SEALED_COLUMNS`, which key rotation walks. Refresh tokens' grace copies
are not: they are sealed under the presented secret, not under our keys.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, RowMapping

from gateway_proxy.sealing.keyring import Keyring, row_context
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
