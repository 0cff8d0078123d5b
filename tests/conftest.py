"""Fixtures that every test may ask for: real databases, a real Redis, keys and a clock. Started only when asked for."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support import databases
from tests.support.clock import FakeClock
from tests.support.postgres import find_postgres
from tests.support.redis import empty_redis, find_redis
from tests.support.servers import TestRun

RUN = pytest.StashKey[TestRun]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the run one directory, in which its processes find the servers that one of them started."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[RUN] = TestRun(given["run_owner"], given["run_directory"], given["workerid"])
    else:
        config.stash[RUN] = TestRun(os.getpid(), tempfile.mkdtemp(prefix="gateway-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which run it belongs to."""
    run = node.config.stash[RUN]
    node.workerinput["run_owner"] = run.owner
    node.workerinput["run_directory"] = run.directory


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over; the keepers see that by themselves."""
    run = config.stash.get(RUN, None)
    if run is not None and run.owner == os.getpid():
        shutil.rmtree(run.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def test_run(pytestconfig: pytest.Config) -> TestRun:
    """This run of pytest and this worker of it."""
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def postgres_server(test_run: TestRun) -> str:
    """The URL of a real PostgreSQL on which databases may be created (TEST_DATABASE_URL, else our own)."""
    return find_postgres(test_run)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[databases.MigratedPostgres]:
    """The migrated databases of this worker; tests ask for `postgres_url`."""
    migrated = databases.MigratedPostgres(postgres_server)
    yield migrated
    migrated.drop()


@pytest.fixture
def postgres_url(migrated_postgres: databases.MigratedPostgres) -> Iterator[str]:
    """A PostgreSQL database of the test's own, migrated, without rows."""
    with migrated_postgres.lend() as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, without a schema."""
    with databases.postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that `sqlite_url` copies."""
    return databases.sqlite_template(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database of the test's own, migrated."""
    return databases.copy_sqlite(sqlite_template, tmp_path)


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite database of the test's own, without a schema."""
    return databases.sqlite_address(tmp_path / "empty.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of the test's own; the test runs once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The same without a schema."""
    url: str = request.getfixturevalue("empty_sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return url


@pytest.fixture
def patient_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections and locks are waited for: how long a crowd takes is up to the machine."""
    for engine in ("postgres_engine", "sqlite_engine"):
        monkeypatch.setattr(f"gateway_proxy.storage.sql.{engine}.WAIT_SECONDS", 60.0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open `Database`; the test runs once on SQLite and once on PostgreSQL."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def redis_server(test_run: TestRun) -> str:
    """The URL of this worker's Redis database (TEST_REDIS_URL, else our own server)."""
    return find_redis(test_run)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """A Redis database, emptied for the test."""
    empty_redis(redis_server)
    return redis_server


@pytest.fixture
def keyring() -> Keyring:
    """A keyring with one key."""
    return Keyring(["a-key-for-tests-that-is-long-enough-0001"])


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()
