"""Entering the database: transactions, time limits, and one error when it is out of reach."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.database import Database


async def test_a_returned_function_is_committed(database: Database) -> None:
    """House, Database: a transaction wraps one decision."""

    def add(session: Session) -> None:
        session.execute(text("CREATE TABLE t (id INTEGER)"))
        session.execute(text("INSERT INTO t VALUES (1)"))

    await database.run(add)
    assert await database.read(lambda session: session.scalar(text("SELECT count(*) FROM t"))) == 1
