"""Row-level security of PostgreSQL holds where a query has forgotten its tenant, for every kind of login."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, Table, delete, event, func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.cli.preparation import prepare
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.backup.dump import write_backup
from gateway_proxy.storage.backup.restore import Plan, restore_backup
from gateway_proxy.storage.sql import audit, migrate, principals, users
from gateway_proxy.storage.sql.assistants import list_assistants
from gateway_proxy.storage.sql.backends import list_backends, put_backend
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import list_grants
from gateway_proxy.storage.sql.personal_tokens import list_personal_tokens
from gateway_proxy.storage.sql.tables import audit_events, backends, metadata, tenants
from gateway_proxy.storage.sql.tenant_wall import WALLED, find_tenant_wall
from tests.storage.test_definitions import a_backend
from tests.support.clock import START
from tests.support.databases import owned_postgres, postgres_database
from tests.support.factories import make_tenant
from tests.support.full_database import MOMENT, content, fill
from tests.support.postgres import driver_url, drop_role, execute, tenant_role

LOGINS = ("superuser", "creator", "owner", "member", "schema")


@pytest.fixture(params=LOGINS)
def url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """A migrated database: of a superuser, of a login that may make roles, of one that only owns it, of one that may
    take the role as well, and of one that does so with a schema of its own, as PostgreSQL's manual advises."""
    if request.param == "superuser":
        yield request.getfixturevalue("postgres_url")
        return
    with owned_postgres(postgres_server, attributes="CREATEROLE" if request.param == "creator" else "") as address:
        login = make_url(address).username
        role = tenant_role(address)
        if request.param == "schema":
            execute(address, "CREATE SCHEMA AUTHORIZATION CURRENT_USER")
            role = tenant_role(address, schema=str(login))
        if request.param in ("member", "schema"):
            execute(postgres_server, f"CREATE ROLE {role}", f'GRANT {role} TO "{login}"')
        asyncio.run(migrate.upgrade(address))
        yield address
    execute(postgres_server, drop_role(role))


@asynccontextmanager
async def opened(url: str, *, pool_size: int = 2) -> AsyncIterator[Database]:
    """The door."""
    database = Database(url, pool_size=pool_size)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The door, for each kind of login."""
    async with opened(url) as database:
        yield database


async def two_tenants(database: Database) -> tuple[Tenant, Tenant]:
    """Two tenants with one backend each."""
    keyring = Keyring(["a-key-for-tests-that-is-long-enough-0001"])
    acme, beta = await make_tenant(database, "acme"), await make_tenant(database, "beta")
    for tenant in (acme, beta):
        backend = a_backend(tenant.id)
        await database.run(put_backend, tenant_id=tenant.id, backend=backend, keyring=keyring, now=START)
    return acme, beta


def owners(session: Session, *, tenant_id: str | None = None) -> set[str]:
    """Whose backends there are, asked without a filter."""
    return set(session.execute(text("SELECT tenant_id FROM backends")).scalars())


def owner_of(table: Table) -> Any:
    """The column that says whose a row is."""
    return table.c.id if table is tenants else table.c.tenant_id


def own_the_trail(session: Session, *, owners: list[str | None]) -> None:
    """Give the rows of the trail, which no foreign key binds, to these."""
    ids = session.scalars(select(audit_events.c.id).order_by(audit_events.c.id)).all()
    for row_id, owner in zip(ids, owners, strict=True):
        session.execute(update(audit_events).where(audit_events.c.id == row_id).values(tenant_id=owner))


def seen(session: Session, *, table: Table, tenant_id: str) -> list[str]:
    """Whose rows a query without a filter finds."""
    return list(session.scalars(select(owner_of(table))))


def touched(session: Session, *, table: Table, tenant_id: str) -> list[str]:
    """Whose rows a change without a filter changes."""
    change = update(table).values({owner_of(table).name: owner_of(table)})
    return list(session.scalars(change.returning(owner_of(table))))


def removed(session: Session, *, table: Table, tenant_id: str, owner: str) -> list[str]:
    """Whose rows are removed when another's are asked for."""
    return list(session.scalars(delete(table).where(owner_of(table) == owner).returning(owner_of(table))))


async def test_a_forgotten_filter_neither_sees_nor_changes_another_tenants_rows(database: Database) -> None:
    """reference T2, row 43: in every table of a tenant, whatever the login is."""
    await database.run(fill)
    mine, theirs = sorted(await database.read(lambda session: session.scalars(select(tenants.c.id)).all()))[::2]
    await database.run(own_the_trail, owners=[mine, None, theirs])
    before = await database.read(content)

    for name in WALLED:
        table = metadata.tables[name]
        assert await database.read(seen, table=table, tenant_id=mine) == [mine], name
        if table is not audit_events:
            assert await database.run(touched, table=table, tenant_id=mine) == [mine], name
            assert await database.run(removed, table=table, tenant_id=mine, owner=theirs) == [], name

    assert await database.read(content) == before


async def test_no_row_is_put_into_another_tenant(database: Database) -> None:
    """reference T2: WITH CHECK, for new rows and for those that are moved."""
    acme, beta = await two_tenants(database)

    def add(session: Session, *, tenant_id: str) -> None:
        values = {"id": "a" * 32, "tenant_id": beta.id, "event": "e", "at": MOMENT, "detail": {}}
        session.execute(insert(audit_events).values(values))

    def move(session: Session, *, tenant_id: str) -> None:
        session.execute(update(backends).values(tenant_id=beta.id))

    for forbidden in (add, move):
        with pytest.raises(ProgrammingError, match="row-level security"):
            await database.run(forbidden, tenant_id=acme.id)
    await database.run(add, tenant_id=beta.id)
    assert await database.read(owners) == {acme.id, beta.id}


async def test_nothing_is_carried_over_to_the_next_user_of_a_connection(url: str) -> None:
    """reference T2: in a pool of one, after success, a failure of the function and one of a statement."""

    def fail(session: Session, *, tenant_id: str) -> None:
        owners(session)
        raise LookupError

    def divide(session: Session, *, tenant_id: str) -> None:
        session.execute(text("SELECT 1/0"))

    def standing(session: Session) -> tuple[bool, str]:
        row = session.execute(text("SELECT current_user = session_user, current_setting('app.tenant', true)")).one()
        return row[0], row[1] or ""

    async with opened(url, pool_size=1) as database:
        acme, beta = await two_tenants(database)
        for work, error in ((owners, None), (fail, LookupError), (divide, DBAPIError)):
            for enter in (database.run, database.read):
                if error is None:
                    assert await enter(work, tenant_id=acme.id) == {acme.id}
                else:
                    with pytest.raises(error):
                        await enter(work, tenant_id=acme.id)
                assert await database.read(standing) == (True, "")
                assert await database.read(owners) == await database.run(owners) == {acme.id, beta.id}
                assert await database.read(owners, tenant_id=beta.id) == {beta.id}
                assert await database.run(owners, tenant_id=beta.id) == {beta.id}


async def test_a_cancelled_transaction_leaves_nothing_of_its_tenant(url: str) -> None:
    """reference T2: somebody went away in the middle."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(session: Session, *, tenant_id: str) -> None:
        loop.call_soon(begun.set)
        for _ in range(500):
            session.execute(text("SELECT 1"))

    async with opened(url, pool_size=1) as database:
        acme, beta = await two_tenants(database)
        for enter in (database.run, database.read):
            begun.clear()
            task = asyncio.create_task(enter(wait, tenant_id=acme.id))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await database.read(owners) == {acme.id, beta.id}
            assert await database.run(owners, tenant_id=beta.id) == {beta.id}


async def test_no_tenant_is_not_every_tenant(database: Database) -> None:
    """An empty form field names nobody; `app.tenant` empty means "about no single tenant"."""
    await two_tenants(database)
    assert await database.read(owners, tenant_id="") == set()


async def test_the_trail_can_be_added_to_and_not_changed_by_what_is_shut_in(postgres_url: str) -> None:
    """reference A3: append-only; no UPDATE and no DELETE for the role, and no password hash."""
    async with opened(postgres_url) as database:
        acme, _ = await two_tenants(database)
        for statement in (
            "UPDATE audit_events SET event = 'x'",
            "DELETE FROM audit_events",
            "SELECT password_hash FROM users",
            "DELETE FROM users",
            "SELECT * FROM browser_sessions",
        ):

            def forbidden(session: Session, *, tenant_id: str, statement: str = statement) -> None:
                session.execute(text(statement))

            with pytest.raises(ProgrammingError, match="permission denied"):
                await database.run(forbidden, tenant_id=acme.id)


async def test_every_table_of_a_tenant_has_the_wall_and_its_rights(postgres_url: str) -> None:
    """Conventions, a new table: its migration gives it policy and rights, or this names it."""
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE")
    role = tenant_role(postgres_url)

    def granted(session: Session) -> dict[str, set[str]]:
        return {
            table: {right for right in rights if session.scalar(select(func.has_table_privilege(role, table, right)))}
            for table in metadata.tables
        }

    def policies(session: Session) -> set[tuple[str, str, str]]:
        found = session.execute(text("SELECT tablename, cmd, policyname FROM pg_policies"))
        return {(row.tablename, row.cmd, row.policyname) for row in found}

    async with opened(postgres_url) as database:
        wall = await database.read(find_tenant_wall)
        assert wall is not None
        assert (wall.tables, wall.role, wall.has_role, wall.gap) == (WALLED, role, True, None)
        assert await database.read(policies) == {(table, "ALL", "tenant_wall") for table in WALLED}
        assert await database.read(granted) == {table: set(rights) for table in WALLED} | {
            "audit_events": {"SELECT", "INSERT"},
            "tenants": {"SELECT", "UPDATE", "DELETE"},
            "clients": {"SELECT", "INSERT", "UPDATE"},
            "users": set(),
            "browser_sessions": set(),
        }


@pytest.mark.parametrize(("attributes", "gap"), [("", None), ("BYPASSRLS", "cannot work as gateway_tenant_")])
async def test_a_start_says_when_the_second_wall_does_not_stand(
    postgres_server: str, tmp_path: Path, attributes: str, gap: str | None
) -> None:
    """A login above every policy that cannot become the role: the filters stand alone, and the operator knows."""
    with owned_postgres(postgres_server, attributes=attributes) as url:
        environ = {
            "GATEWAY_DATA_DIR": str(tmp_path),
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_SECRET_KEYS": "a-key-for-tests-that-is-long-enough-0001",
        }
        surroundings = read_surroundings(environ=environ)
        with capture_logs() as log:
            await prepare(surroundings, None, first_look=False, tell=print)
        told = [entry["reason"] for entry in log if entry["event"] == "tenant_wall_missing"]
        async with opened(url) as database:
            acme, beta = await two_tenants(database)
            seen = await database.read(owners, tenant_id=acme.id)

    if gap is None:
        assert (told, seen) == ([], {acme.id})
    else:
        assert (len(told), gap in told[0], seen) == (1, True, {acme.id, beta.id})


async def rights_of_a_stranger(url: str, stranger: str) -> set[str]:
    """The tables of a database on which another's login has any right, as itself or as a role that it may take."""
    login = make_url(stranger)
    connection = await asyncpg.connect(
        driver_url(make_url(url).set(username=login.username, password=login.password).render_as_string(False))
    )
    found = await connection.fetch("""
        SELECT DISTINCT relname FROM pg_class c, pg_roles r
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_has_role(session_user, r.oid, 'MEMBER')
        AND (has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')
            OR has_table_privilege(r.oid, c.oid, 'DELETE'))
    """)
    await connection.close()
    return {row["relname"] for row in found}


@pytest.mark.parametrize("attributes", ["", "CREATEROLE", "SUPERUSER"])
async def test_another_gateways_login_in_the_same_cluster_has_no_rights(postgres_server: str, attributes: str) -> None:
    """Security T2: roles are the whole cluster's, and PUBLIC may connect to every database."""
    with (
        owned_postgres(postgres_server, attributes="CREATEROLE") as staging,
        owned_postgres(postgres_server, attributes=attributes) as production,
    ):
        await migrate.upgrade(staging)
        await migrate.upgrade(production)
        async with opened(staging) as theirs, opened(production) as ours:
            walls = [await database.read(find_tenant_wall) for database in (theirs, ours)]
            await two_tenants(ours)
        assert [wall is not None and (wall.has_role, wall.gap) for wall in walls] == [
            (True, None),
            (bool(attributes), None),
        ]
        assert await rights_of_a_stranger(staging, staging) >= WALLED
        assert await rights_of_a_stranger(production, staging) == set()


async def test_a_role_that_another_login_has_made_first_gets_no_rights(postgres_server: str) -> None:
    """Security T2: whoever may make roles can work out the name."""
    with (
        owned_postgres(postgres_server, attributes="CREATEROLE") as staging,
        postgres_database(postgres_server) as production,
    ):
        role = tenant_role(production)
        await asyncio.to_thread(execute, staging, f"CREATE ROLE {role}", f"GRANT {role} TO CURRENT_USER")
        await migrate.upgrade(production)
        assert await rights_of_a_stranger(production, staging) == set()
        async with opened(production) as database:
            wall = await database.read(find_tenant_wall)
        assert wall is not None
        assert wall.gap == f"the database login passes every policy and cannot work as {role}"
        await asyncio.to_thread(execute, postgres_server, f"DROP OWNED BY {role}", drop_role(role))


async def test_who_may_take_the_role_does_not_have_its_rights_before(postgres_server: str) -> None:
    """From PostgreSQL 16 on the server tells taking a role from inheriting its rights."""
    with owned_postgres(postgres_server, attributes="CREATEROLE") as url:
        await migrate.upgrade(url)
        async with opened(url) as database:
            asked = text(f"""
                SELECT pg_has_role('{tenant_role(url)}', 'MEMBER'),
                pg_has_role('{tenant_role(url)}', 'USAGE') AND current_setting('server_version_num')::int >= 160000
            """)
            assert (await database.read(lambda session: session.execute(asked).one())) == (True, False)


async def test_a_wall_with_a_gap_names_the_tables(postgres_server: str) -> None:
    """A dump without its policies, restored by hand."""
    with postgres_database(postgres_server) as url:
        await migrate.upgrade(url)
        await asyncio.to_thread(execute, url, "ALTER TABLE backends DISABLE ROW LEVEL SECURITY")
        async with opened(url) as database:
            wall = await database.read(find_tenant_wall)
    assert wall is not None
    assert wall.gap == "no row-level security on backends"


async def test_rows_of_the_schema_before_get_the_wall_and_lose_it_without_a_trace(postgres_server: str) -> None:
    """Upgrade from 0002 with rows, and back: nothing of this database hangs on the role afterwards."""
    with postgres_database(postgres_server) as url:
        dependencies = text(f"""
            SELECT count(*) FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
            WHERE b.datname = current_database() AND d.refobjid = '{tenant_role(url)}'::regrole
        """)
        await migrate.upgrade(url, "0002")
        async with opened(url) as database:
            acme, beta = await old_tenants(database)
            before = await database.read(content)
            await migrate.upgrade(url)
            assert await database.read(content) == before
            assert await database.read(owners, tenant_id=acme) == {acme}
        await migrate.downgrade(url, "0002")
        async with opened(url) as database:
            assert await database.read(content) == before
            assert await database.read(owners, tenant_id=acme) == {acme, beta}
            assert await database.read(lambda session: session.scalar(dependencies)) == 0


async def old_tenants(database: Database) -> tuple[str, str]:
    """Rows in every table; the tenants of two of them."""
    await database.run(fill)
    first, second, *_ = sorted(await database.read(owners))
    await database.run(lambda session: session.execute(delete(backends).where(backends.c.tenant_id > second)))
    return first, second


async def test_a_migration_beside_gateways_that_serve_lets_them_pass(postgres_server: str) -> None:
    """Security O2, F15: it takes the locks of many tables, and a transaction under way may want them the other way."""
    with postgres_database(postgres_server) as url:
        await migrate.upgrade(url, "0002")
        serving, watching = [await asyncpg.connect(driver_url(url)) for _ in range(2)]
        async with serving.transaction():
            await serving.execute("SELECT FROM tenants")
            migrating = asyncio.create_task(migrate.upgrade(url))
            async with asyncio.timeout(30):
                while not await watching.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                    await asyncio.sleep(0.01)
            await serving.execute("SELECT FROM access_tokens")
        await migrating
        await asyncio.gather(serving.close(), watching.close())


async def test_a_backup_is_restored_behind_the_wall(url: str, postgres_server: str) -> None:
    """Security F15: reading and writing all tenants is about no single one."""
    file = io.BytesIO()
    async with opened(url) as database:
        await database.run(fill)
        before = await database.read(content)
        await write_backup(url, file, now=START)
        for plan in (Plan(START, replaces=True), Plan(START, replaces=True, revokes_tokens=True)):
            file.seek(0)
            await restore_backup(url, file, plan)
            after = await database.read(content)
            assert after.keys() == before.keys()
            assert plan.revokes_tokens or after == before
        mine = min(await database.read(owners))
        assert await database.read(owners, tenant_id=mine) == {mine}


def plan_of(session: Session, /, f: Callable[..., Any], **keywords: Any) -> str:
    """What PostgreSQL would do for the statements of a storage function, were the tables large."""
    said: list[tuple[str, Any]] = []

    def listen(_: Connection, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        said.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", listen)
    f(session, **keywords)
    event.remove(connection, "before_cursor_execute", listen)
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    lines = [row[0] for each in said for row in connection.exec_driver_sql(f"EXPLAIN {each[0]}", each[1])]
    return "\n".join(lines)


async def test_what_is_asked_for_most_still_finds_its_rows_by_index(url: str, keyring: Keyring) -> None:
    """The wall costs no plan: it is a filter on rows that an index has found."""
    async with opened(url) as database:
        acme, _ = await two_tenants(database)
        found = await database.run(plan_of, f=principals.find_token_grounds, digest=b"d" * 32, now=START)
        assert "Seq Scan" not in found
        of_a_user = {"tenant_id": acme.id, "user_id": "u"}
        for f, keywords in (
            (list_backends, {"tenant_id": acme.id, "keyring": keyring}),
            (list_assistants, {"tenant_id": acme.id}),
            (list_personal_tokens, of_a_user),
            (list_grants, of_a_user),
            (users.find_membership, of_a_user),
            (audit.list_audit_events, {"tenant_id": acme.id, "limit": 10}),
        ):
            found = await database.run(plan_of, f=f, **keywords)
            assert "Seq Scan" not in found, f
            assert "InitPlan" in found, f
