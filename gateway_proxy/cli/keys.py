"""`gateway-proxy keys`: the secret keys that credentials are sealed under, and their rotation."""

import asyncio
from collections.abc import Mapping

import click

from gateway_proxy.cli.database import open_migrated
from gateway_proxy.cli.progress import Progress
from gateway_proxy.domain.errors import SecretsUnreadable
from gateway_proxy.storage.sql.key_rotation import Rotated
from gateway_proxy.storage.sql.key_rotation import rotate as rotate_keys
from gateway_proxy.storage.sql.resealing import count_sealed, sealed_tables
from gateway_proxy.storage.sql.static_keys import list_every_static_key


@click.group()
def keys() -> None:
    """Rotate the secret keys that stored credentials are sealed under."""


@keys.command()
@click.option("--dry-run", is_flag=True, help="Only print how many values each key has sealed.")
@click.option("--remove-unreadable", is_flag=True, help="Remove the definitions whose secrets no key opens any more.")
def rotate(dry_run: bool, remove_unreadable: bool) -> None:
    """Seal every stored credential anew under the first key of GATEWAY_SECRET_KEYS.

    Put the new key first and keep the old one behind it, restart the gateways, rotate, apply the configuration file if
    it has keys of /v1, and then take the old key away. Safe while gateways serve; stopped half-way, run it again.

    What no configured key opens is named, and the exit status is 1 after the rest is done.

    \b
    Examples:
      gateway-proxy keys rotate --dry-run
      gateway-proxy keys rotate
    """
    if dry_run and remove_unreadable:
        raise click.UsageError("--dry-run and --remove-unreadable exclude each other")
    if dry_run:
        counts, key_ids = asyncio.run(_count())
        _print_counts(counts, key_ids)
        return
    done, digests = asyncio.run(_rotate(remove_unreadable))
    for table in done:
        click.echo(_said(table))
    if digests:
        click.echo(
            f"notice: {digests} keys of /v1 are kept as digests, which cannot be made anew from what is stored; apply "
            "the configuration file that has them before an older secret key is taken away",
            err=True,
        )
    problems = [str(entry) for table in done for entry in table.unreadable]
    problems += [_written_meanwhile(table) for table in done if table.left]
    if problems:
        raise SecretsUnreadable(tuple(problems))


async def _count() -> tuple[Mapping[tuple[str, str], int], tuple[str, ...]]:
    async with open_migrated() as core:
        return await core.database.read(count_sealed), core.keyring.key_ids


async def _rotate(remove_unreadable: bool) -> tuple[list[Rotated], int]:
    """What was done, and how many keys of /v1 have to be applied anew."""
    async with open_migrated() as core:
        progress = Progress(core.clock, "{done} definitions sealed anew…")
        done = await rotate_keys(core.database, core.keyring, removes_unreadable=remove_unreadable, tell=progress.tell)
        digests = await core.database.read(list_every_static_key)
        return done, len(digests) if len(core.keyring.key_ids) > 1 else 0


def _print_counts(counts: Mapping[tuple[str, str], int], key_ids: tuple[str, ...]) -> None:
    rows = [("TABLE", "KEY ID", "VALUES", "KEY")]
    for table in sealed_tables():
        for (place, key_id), number in sorted(counts.items()):
            if place == table:
                rows.append((table, key_id, str(number), _standing(key_id, key_ids)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _standing(key_id: str, key_ids: tuple[str, ...]) -> str:
    if key_id not in key_ids:
        return "not in GATEWAY_SECRET_KEYS"
    return "the first" if key_id == key_ids[0] else f"number {key_ids.index(key_id) + 1}"


def _said(table: Rotated) -> str:
    said = f"{table.table}: {table.resealed} values sealed anew"
    if table.unreadable:
        said += f", {len(table.unreadable)} not readable"
    if table.removed:
        said += f", {len(table.removed)} definitions removed: " + ", ".join(
            f"{row.tenant}/{row.name}" if row.name else row.tenant for row in table.removed
        )
    return said


def _written_meanwhile(table: Rotated) -> str:
    return (
        f"{table.table}: {table.left} definitions were sealed under an older key meanwhile; "
        "restart the gateways that have the older keys, and rotate again"
    )
