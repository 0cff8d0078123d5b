"""`gateway-proxy migrate`: bring the database to this version's schema."""

import asyncio

import click

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.storage.sql.migrate import current_revision, head_revision, upgrade


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema.

    Safe to run from several places at once: one migrates, the others wait and find nothing to do. `serve` does the
    same at its start.

    \b
    Example:
      GATEWAY_DATABASE_URL=postgresql+asyncpg://… gateway-proxy migrate
    """
    settings = read_surroundings().settings
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = asyncio.run(_migrate(settings.database_url))
    if before == head_revision():
        click.echo(f"The database is at schema {before} already.")
    else:
        click.echo(f"The database went from schema {before or 'none'} to {head_revision()}.")


async def _migrate(url: str) -> str | None:
    before = await current_revision(url)
    await upgrade(url)
    return before
