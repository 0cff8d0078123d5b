"""`gateway-proxy restore`: a backup back into a database."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from gateway_proxy.cli.backup import STANDARD
from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.cli.progress import Progress
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.backup.file import Header
from gateway_proxy.storage.backup.restore import Plan, restore_backup


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--replace", is_flag=True, help="Remove what the database holds first. Stop the gateways before.")
@click.option("--revoke-tokens", is_flag=True, help="End every token and browser session that the backup has.")
def restore(file: Path, replace: bool, revoke_tokens: bool) -> None:
    """Write the backup FILE (`-`: standard input) to the database, which must be empty.

    In one transaction: it is there whole, or nothing has changed. A backup of SQLite can be restored into PostgreSQL,
    and one of an older version into this one.

    What was revoked before the backup stays revoked. What was revoked after it is not revoked in it: --revoke-tokens
    ends every token, and people connect their apps again.

    \b
    Examples:
      gateway-proxy restore gateway.backup
      GATEWAY_DATABASE_URL=postgresql+asyncpg://… gateway-proxy restore first-look.backup
      docker compose run --rm -T gateway restore --replace - < gateway.backup
    """
    settings, clock = read_surroundings().settings, SystemClock()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    progress = Progress(clock, "{done} rows restored…")
    plan = Plan(clock.now(), replaces=replace, revokes_tokens=revoke_tokens, tell=progress.tell)
    with _open(file) as stream:
        header, counts = asyncio.run(restore_backup(settings.database_url, stream, plan))
    click.echo(_said(header, counts), err=True)
    missing = sorted(set(header.key_ids) - set(Keyring(settings.secret_keys).key_ids))
    if missing:
        keys = f"the secret key{'s' * (len(missing) > 1)} {', '.join(missing)}"
        click.echo(
            f"notice: credentials of it open with {keys}, not in GATEWAY_SECRET_KEYS; add what is missing", err=True
        )


@contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror or 'cannot be read'}") from None
    with stream:
        yield stream


def _said(header: Header, counts: Mapping[str, int]) -> str:
    made = header.created_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"{sum(counts.values()):,} rows of {len(counts)} tables are restored, as they were at {made}."
