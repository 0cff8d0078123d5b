"""Row-level security on every table of a tenant: the second wall behind the filters of the queries (PostgreSQL only).

SQLite has nothing of the kind. Roles are the whole cluster's, so this one is named after its database and schema: who
may take the role of one gateway has no rights on the tables of another. It stays when the schema goes.
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
_ROLE_NAME: Final = """
SELECT 'gateway_tenant_' || left(
    encode(sha256(convert_to(concat(current_database(), '.', current_schema()), 'UTF8')), 'hex'), 12
)
"""
_MAKE_ROLE: Final = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END $$
"""
# Superusers need no membership; who may make roles is not a member of what they made before PostgreSQL 16, and may not
# take it from 16 on. Nobody has the rights without taking the role, where the server can tell the two apart.
_JOIN_ROLE: Final = """
DO $$
BEGIN
    IF current_setting('server_version_num')::int < 160000 THEN
        IF NOT pg_has_role(session_user, '{role}', 'MEMBER') THEN
            GRANT {role} TO SESSION_USER;
        END IF;
    ELSIF NOT pg_has_role(session_user, '{role}', 'SET') THEN
        EXECUTE 'GRANT {role} TO SESSION_USER WITH INHERIT FALSE, SET TRUE';
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END $$
"""
# Rights for a role that this login cannot take serve nobody here. Nor are there any for one that others can take:
# somebody with CREATEROLE may have made it first.
_IS_OURS: Final = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles r WHERE rolname = :role AND NOT rolcanlogin
    AND pg_has_role(
        session_user, oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_auth_members WHERE roleid = r.oid AND pg_get_userbyid(member) <> session_user
    )
)
"""
_OPEN_SCHEMA: Final = """
DO $$
BEGIN
    IF NOT has_schema_privilege('{role}', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
    END IF;
END $$
"""
_CLOSE_SCHEMA: Final = """
DO $$
BEGIN
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM {role}', current_schema());
END $$
"""


def upgrade() -> None:
    """Raise the wall, and make the role that cannot look over it: superusers can."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_LOCK_TABLES)
    for table in _BEHIND_THE_WALL:
        owner = "id" if table == "tenants" else "tenant_id"
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_wall ON {table} USING ({_IS_VISIBLE.format(owner=owner)})")
    role = _role_name()
    op.execute(_MAKE_ROLE.format(role=role))
    if not _has_role(role):
        return
    op.execute(_JOIN_ROLE.format(role=role))
    if not op.get_bind().execute(sa.text(_IS_OURS), {"role": role}).scalar_one():
        return
    op.execute(_OPEN_SCHEMA.format(role=role))
    for table, rights in (_BEHIND_THE_WALL | _SHARED).items():
        op.execute(f"GRANT {rights} ON {table} TO {role}")


def downgrade() -> None:
    """Take it down. Nothing of this database hangs on the role afterwards."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_LOCK_TABLES)
    role = _role_name()
    if _has_role(role):
        for table in _BEHIND_THE_WALL | _SHARED:
            op.execute(f"REVOKE ALL ON {table} FROM {role}")
        op.execute(_CLOSE_SCHEMA.format(role=role))
    for table in _BEHIND_THE_WALL:
        op.execute(f"DROP POLICY tenant_wall ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")


def _role_name() -> str:
    return str(op.get_bind().execute(sa.text(_ROLE_NAME)).scalar_one())


def _has_role(role: str) -> bool:
    statement = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :role)"
    return bool(op.get_bind().execute(sa.text(statement), {"role": role}).scalar_one())
