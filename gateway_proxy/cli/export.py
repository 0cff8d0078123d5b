"""`gateway-proxy export`: the configuration that the database holds, as a file that applies to the same state."""

import asyncio

import click

from gateway_proxy.cli.database import open_migrated
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.provisioning.current_state import CurrentTenant, list_current_tenants, list_current_users
from gateway_proxy.provisioning.export import Export, export_state


@click.command()
@click.option("--tenant", "slugs", multiple=True, metavar="SLUG", help="Only this tenant; may be given several times.")
def export(slugs: tuple[str, ...]) -> None:
    """Print the configuration that the database holds, as YAML.

    Secrets stand in it as ${…} variables, listed at the top; passwords are left out. What a tenant's own
    administrators defined is not exported.

    \b
    Examples:
      gateway-proxy export > gateway.yaml
      gateway-proxy export --tenant acme
    """
    click.echo(asyncio.run(_export(slugs)).as_yaml(), nl=False)


async def _export(slugs: tuple[str, ...]) -> Export:
    async with open_migrated() as core:
        tenants = await core.database.read(list_current_tenants, keyring=core.keyring)
        users = await core.database.read(list_current_users)
    known = {entry.tenant.slug for entry in tenants}
    for slug in slugs:
        if slug not in known:
            raise NotFound("tenant", slug)
    chosen = [entry for entry in tenants if not slugs or entry.tenant.slug in slugs]
    for entry in chosen:
        _refuse_unreadable(entry)
    if slugs:
        users = [user for user in users if user.tenants.keys() & set(slugs)]
    return export_state(chosen, users)


def _refuse_unreadable(entry: CurrentTenant) -> None:
    names = [backend.name for backend in entry.backends if backend.unreadable]
    names += ["apiman"] * entry.has_unreadable_apiman
    names += [provider.name for provider in entry.providers if provider.unreadable]
    if names:
        raise click.ClickException(
            f"tenant {entry.tenant.slug}: the secrets of {', '.join(names)} are sealed under a key that is not in "
            "GATEWAY_SECRET_KEYS; add that key, or remove those definitions"
        )
