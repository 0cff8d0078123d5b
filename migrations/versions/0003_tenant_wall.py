"""Row-level security on every table of a tenant: the second wall behind the filters of the queries (PostgreSQL only).

SQLite has nothing of the kind. The role is one of the whole cluster: it is made once, whichever database comes first,
and stays when a schema goes.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WRITES: Final = "SELECT, INSERT, UPDATE, DELETE"
_BEHIND_THE_WALL: Final = {
    "access_tokens": _WRITES,
    "assistants": _WRITES,
    "audit_events": "SELECT, INSERT",
    "authorization_codes": _WRITES,
    "backends": _WRITES,
    "grants": _WRITES,
    "key_probes": _WRITES,
    "memberships": _WRITES,
    "personal_tokens": _WRITES,
    "providers": _WRITES,
    "refresh_tokens": _WRITES,
    "static_keys": _WRITES,
    "tenants": "SELECT, UPDATE, DELETE",
    "token_families": _WRITES,
}
# A user may belong to several tenants and a client to all of them, so no row of theirs is one tenant's. What functions
# of one tenant need is little: whom a membership names, a client that is agreed to. Of browser sessions: nothing.
_SHARED: Final = {
    "users": "SELECT (id, email, name, disabled_at)",
    "clients": "SELECT, INSERT, UPDATE",
}

# Asked once per statement, not per row. CASE, because the planner would take a second equality for a second selection
# and change its plans. A setting that was local to a transaction is '' in the next one, not NULL.
_IS_VISIBLE: Final = """
CASE (SELECT coalesce(current_setting('app.tenant', true), ''))
    WHEN '' THEN true
    WHEN {owner} THEN true
    ELSE false
END
"""
# Gateways serve meanwhile, and take the same locks in orders of their own. Who gives up before PostgreSQL looks for
# deadlocks (after a second) lets them pass and tries again.
_LOCK_TABLES: Final = f"""
DO $$
BEGIN
    FOR attempt IN 1..100 LOOP
        BEGIN
            SET LOCAL lock_timeout = '300ms';
            LOCK TABLE {", ".join(_BEHIND_THE_WALL)} IN ACCESS EXCLUSIVE MODE;
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN PERFORM pg_sleep(random() / 5);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the tables are too busy for a migration';
END $$
"""
# CREATE ROLE of two databases at once: the second waits for the first and then finds the name taken.
_MAKE_ROLE: Final = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'gateway_tenant') THEN
        CREATE ROLE gateway_tenant NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN NULL;
END $$
"""
# Superusers need no membership; who may make roles is not a member of what they made before PostgreSQL 16, and may not
# take it from 16 on. XX000: another database has granted the same at this moment.
_JOIN_ROLE: Final = """
DO $$
DECLARE
    word text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    IF NOT pg_has_role(session_user, 'gateway_tenant', word) THEN
        GRANT gateway_tenant TO SESSION_USER;
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR unique_violation OR internal_error THEN NULL;
END $$
"""
_OPEN_SCHEMA: Final = """
DO $$
BEGIN
    IF NOT has_schema_privilege('gateway_tenant', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO gateway_tenant', current_schema());
    END IF;
END $$
"""
_CLOSE_SCHEMA: Final = """
DO $$
BEGIN
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM gateway_tenant', current_schema());
END $$
"""


def upgrade() -> None:
    """Raise the wall, and make the role that cannot look over it: superusers can."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_MAKE_ROLE)
    op.execute(_LOCK_TABLES)
    for table in _BEHIND_THE_WALL:
        owner = "id" if table == "tenants" else "tenant_id"
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_wall ON {table} USING ({_IS_VISIBLE.format(owner=owner)})")
    if not _has_role():
        return
    op.execute(_JOIN_ROLE)
    op.execute(_OPEN_SCHEMA)
    for table, rights in (_BEHIND_THE_WALL | _SHARED).items():
        op.execute(f"GRANT {rights} ON {table} TO gateway_tenant")


def downgrade() -> None:
    """Take it down. Nothing of this database hangs on the role afterwards."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_LOCK_TABLES)
    if _has_role():
        for table in _BEHIND_THE_WALL | _SHARED:
            op.execute(f"REVOKE ALL ON {table} FROM gateway_tenant")
        op.execute(_CLOSE_SCHEMA)
    for table in _BEHIND_THE_WALL:
        op.execute(f"DROP POLICY tenant_wall ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")


def _has_role() -> bool:
    statement = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'gateway_tenant')"
    return bool(op.get_bind().execute(sa.text(statement)).scalar())
