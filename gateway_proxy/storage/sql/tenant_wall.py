"""The second wall between tenants: row-level security of PostgreSQL, raised for one transaction (security T2).

The first wall is the filter in every query; this one holds where a query has forgotten it. What it is made of stands in
migration 0003; the door (`database`) raises it for every function that is called with a `tenant_id`.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.tables import metadata

WALLED: Final = frozenset(name for name, table in metadata.tables.items() if "tenant_id" in table.c) | {"tenants"}
"""The tables that have the wall."""

_NOBODY: Final = "-"  # instead of an empty tenant id, which the policies take for "about no single tenant"
_RAISE: Final = "SELECT set_config('app.tenant', $1, true)"
# In a schema that is named for the login, the tables would be out of sight of the role.
_RAISE_AS_ROLE: Final = f"""
{_RAISE}, set_config('search_path', quote_ident(current_schema()), true), set_config('role', $2, true)
"""
# Roles are the whole server's: one name for all would open one gateway's tables to another, so each schema has its own.
# Up to PostgreSQL 15 a member may take a role; from 16 on membership alone does not say so.
_FIND: Final = text("""
WITH named AS (
    SELECT 'gateway_tenant_' || left(
        encode(sha256(convert_to(concat(current_database(), '.', current_schema()), 'UTF8')), 'hex'), 12
    ) AS name
), role AS (
    SELECT oid FROM pg_catalog.pg_roles
    WHERE rolname = (SELECT name FROM named) AND NOT rolsuper AND NOT rolbypassrls
    AND has_schema_privilege(oid, current_schema(), 'USAGE')
    AND pg_has_role(
        session_user, oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
    )
), walled AS (
    SELECT c.oid, relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE nspname = current_schema() AND relrowsecurity AND relforcerowsecurity
)
SELECT
    ARRAY(SELECT relname::text FROM walled),
    (SELECT name FROM named),
    EXISTS (SELECT FROM role) AND NOT EXISTS (
        SELECT FROM role, walled WHERE NOT has_table_privilege(role.oid, walled.oid, 'SELECT')
    ),
    rolsuper OR rolbypassrls
FROM pg_catalog.pg_roles WHERE rolname = session_user
""")


@dataclass(frozen=True, slots=True)
class TenantWall:
    """What the wall stands on for the login of this process."""

    tables: frozenset[str]
    """Those that have policies which hold for their owner as well."""
    role: str
    """The name of the role that no policy lets through."""
    has_role: bool
    """The login may become that role."""
    is_above: bool
    """The login is a superuser or has BYPASSRLS: no policy holds for it while it is itself."""

    @property
    def gap(self) -> str | None:
        """Why a query without its filter is not held up; None when it is."""
        missing = WALLED - self.tables
        if missing:
            return f"no row-level security on {', '.join(sorted(missing))}"
        if self.is_above and not self.has_role:
            return f"the database login passes every policy and cannot work as {self.role}"
        return None

    def shut_in(self, session: Session, *, tenant_id: str) -> None:
        """To the end of this transaction there are no rows but this tenant's."""
        tenant = tenant_id or _NOBODY
        statement, values = (_RAISE_AS_ROLE, (tenant, self.role)) if self.has_role else (_RAISE, (tenant,))
        session.connection().exec_driver_sql(statement, values)


def find_tenant_wall(session: Session) -> TenantWall | None:
    """Look what the wall stands on. None where there can be none (SQLite)."""
    if session.get_bind().dialect.name != "postgresql":
        return None
    tables, role, has_role, is_above = session.execute(_FIND).one()
    return TenantWall(frozenset(tables), role, has_role, is_above)
