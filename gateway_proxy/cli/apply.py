"""`gateway-proxy apply`: make the database match a configuration file."""

import asyncio
from pathlib import Path

import click

from gateway_proxy.cli.config import read_config
from gateway_proxy.cli.database import open_migrated
from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.provisioning.apply import apply as apply_state
from gateway_proxy.provisioning.changes import ChangeReport
from gateway_proxy.provisioning.desired_state import DesiredState
from gateway_proxy.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
def apply(file: Path, dry_run: bool) -> None:
    """Make the database match FILE (YAML or JSON), and print what changed.

    Tenants in the file are made to match it; what a tenant's own administrators defined, and tenants that the file
    does not list, stay as they are. Applying twice changes nothing the second time.

    \b
    Examples:
      gateway-proxy apply gateway.yaml --dry-run
      gateway-proxy apply gateway.yaml
    """
    surroundings = read_surroundings()
    desired, notices = read_config(file, surroundings.environ)
    report = asyncio.run(_apply(surroundings.settings, desired, dry_run=dry_run))
    for change in report.changes:
        click.echo(str(change))
    click.echo(report.summary() + (" Nothing was written (dry run)." if dry_run and report else ""))
    for notice in (*notices, *report.notices):
        click.echo(f"notice: {notice}", err=True)


async def _apply(settings: Settings, desired: DesiredState, *, dry_run: bool) -> ChangeReport:
    async with open_migrated(settings) as core:
        return await apply_state(core.database, core.keyring, core.hasher, core.clock, desired, dry_run=dry_run)
