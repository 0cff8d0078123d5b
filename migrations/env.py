"""How alembic reaches the database: through a connection handed in by `storage.sql.migrate`, or `alembic -x url=…`.

One transaction for all steps of a run, on both databases. No URL is read from the environment here.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection

from gateway_proxy.storage.sql.migrate import open_for_schema
from gateway_proxy.storage.sql.tables import metadata


def run(connection: Connection) -> None:
    """Run the steps that alembic was asked for on this connection, inside the transaction that it is in."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_with_url(url: str) -> None:
    """Run on a database of its own choosing, for `alembic` on the command line."""
    async with open_for_schema(url) as connection:
        await connection.run_sync(run)


handed_in: Connection | None = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:
    arguments = context.get_x_argument(as_dictionary=True)
    if "url" not in arguments:
        raise SystemExit("error: say which database: alembic -x url=postgresql+asyncpg://…")
    asyncio.run(run_with_url(str(arguments["url"])))
