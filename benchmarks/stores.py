"""PostgreSQL and Redis for the gateway under test: the servers that the tests use, a database of their own."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.databases import postgres_database
from tests.support.postgres import find_postgres
from tests.support.redis import empty_redis, find_redis
from tests.support.servers import TestRun


@dataclass(frozen=True, slots=True)
class Stores:
    """Their URLs."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def running_stores() -> Iterator[Stores]:
    """Start both (or use TEST_DATABASE_URL and TEST_REDIS_URL); they end with this process."""
    run = TestRun(os.getpid(), tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        redis_url = find_redis(run)
        empty_redis(redis_url)
        with postgres_database(find_postgres(run)) as database_url:
            yield Stores(database_url, redis_url)
    finally:
        shutil.rmtree(run.directory, ignore_errors=True)
