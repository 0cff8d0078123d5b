"""`gateway-proxy user`: add people and change their roles."""

import asyncio

import click

from gateway_proxy.cli.database import open_migrated
from gateway_proxy.cli.parameters import Email, read_password
from gateway_proxy.domain.ids import new_password
from gateway_proxy.domain.tenant import Role
from gateway_proxy.provisioning.people import MemberAdded, add_member, get_tenant
from gateway_proxy.storage.sql.users import find_user_by_email


@click.group()
def user() -> None:
    """Add people and change their roles."""


@user.command()
@click.argument("email", type=Email())
@click.option("--tenant", required=True, metavar="SLUG", help="The tenant to be a member of.")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]), help="What they may do there.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add(email: str, tenant: str, role: str, password_stdin: bool) -> None:
    """Make EMAIL a member of a tenant, as a new user if need be.

    For a new user a password is made and printed, once, unless --password-stdin gives one. For a user who exists,
    the role is set and the password stays, unless --password-stdin gives a new one.

    \b
    Examples:
      gateway-proxy user add ann@example.com --tenant acme --role owner
      gateway-proxy user add bob@example.com --tenant acme --role member --password-stdin < bob.txt
    """
    given = read_password() if password_stdin else None
    added, password = asyncio.run(_add(email, tenant, Role(role), given))
    if added.is_new:
        said = f"{email} is now a user, and {role} of {tenant}."
    elif added.role_before is Role(role):
        said = f"{email} is {role} of {tenant} already."
    else:
        said = f"{email} is now {role} of {tenant}."
    click.echo(said, err=True)
    if password is not None:
        click.echo("One-time password (shown only now):", err=True)
        click.echo(password)
    elif given is not None:
        click.echo("The password is set.", err=True)
    elif not added.is_new:
        click.echo("The password stays as it is.", err=True)


async def _add(email: str, tenant: str, role: Role, given: str | None) -> tuple[MemberAdded, str | None]:
    """Add the member; the second value is the password that was made for a new user."""
    async with open_migrated() as core:
        await core.database.read(get_tenant, slug=tenant)  # before a second is spent on hashing
        made = None
        if given is None and await core.database.read(find_user_by_email, email=email) is None:
            made = new_password()
        password = given or made
        password_hash = None if password is None else await core.hasher.hash(password)
        added = await core.database.run(
            add_member, slug=tenant, email=email, role=role, password_hash=password_hash, now=core.clock.now()
        )
        return added, made
