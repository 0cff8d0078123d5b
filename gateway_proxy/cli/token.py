"""`gateway-proxy token`: create, list and revoke personal access tokens."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from gateway_proxy.cli.database import open_migrated
from gateway_proxy.cli.parameters import Duration, Email, ScopeList
from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.domain.principal import ROLE_SCOPES, Scope
from gateway_proxy.provisioning.people import add_token, get_member, get_tenant, revoke_token
from gateway_proxy.storage.sql.personal_tokens import list_personal_tokens, list_tenant_personal_tokens
from gateway_proxy.storage.sql.users import list_members

_LONGEST_NAME = 100


@click.group()
def token() -> None:
    """Create, list and revoke personal access tokens."""


@token.command()
@click.option("--user", "email", required=True, type=Email(), metavar="EMAIL", help="Whose token.")
@click.option("--tenant", required=True, metavar="SLUG", help="The tenant whose tools it opens.")
@click.option("--scope", required=True, type=ScopeList(), help="Some of: mcp openai admin.")
@click.option("--ttl", default="90d", show_default=True, type=Duration(), help="How long it lives, such as 90d or 12h.")
@click.option("--name", default="command line", show_default=True, help="What it is for.")
def create(email: str, tenant: str, scope: tuple[Scope, ...], ttl: timedelta, name: str) -> None:
    """Create a token and print it, and nothing else, on standard output. It is shown only now.

    \b
    Examples:
      gateway-proxy token create --user ann@example.com --tenant acme --scope "mcp openai"
      gateway-proxy token create --user ann@example.com --tenant acme --scope admin --ttl 12h --name deploy
    """
    label = " ".join(name.split())
    if not 1 <= len(label) <= _LONGEST_NAME or not label.isprintable():
        raise click.BadParameter(f"expected 1 to {_LONGEST_NAME} printable characters", param_hint="--name")
    click.echo(asyncio.run(_create(email, tenant, scope, ttl, label)))


async def _create(email: str, tenant: str, scope: tuple[Scope, ...], ttl: timedelta, name: str) -> str:
    async with open_migrated() as core:
        user, member = await core.database.read(get_member, slug=tenant, email=email)
        if user.disabled_at is not None:
            raise click.ClickException(f"{email} is disabled")
        refused = [word for word in scope if word not in ROLE_SCOPES[member.role]]
        if refused:
            raise click.ClickException(
                f"{email} is {member.role} of {tenant}, which does not allow {' '.join(refused)}"
            )
        return await core.database.run(
            add_token, member=member, scope=" ".join(scope), name=name, ttl=ttl, now=core.clock.now()
        )


@token.command(name="list")
@click.option("--tenant", required=True, metavar="SLUG", help="The tenant.")
@click.option("--user", "email", type=Email(), metavar="EMAIL", help="Only this user's.")
def list_(tenant: str, email: str | None) -> None:
    """List the tokens of a tenant: never the secrets, which are kept nowhere.

    \b
    Example:
      gateway-proxy token list --tenant acme
    """
    rows = asyncio.run(_list(tenant, email))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _list(tenant: str, email: str | None) -> list[tuple[str, ...]]:
    async with open_migrated() as core:
        if email is None:
            place = await core.database.read(get_tenant, slug=tenant)
            tokens = await core.database.read(list_tenant_personal_tokens, tenant_id=place.id)
        else:
            user, member = await core.database.read(get_member, slug=tenant, email=email)
            place = member.tenant
            tokens = await core.database.read(list_personal_tokens, tenant_id=place.id, user_id=user.id)
        members = await core.database.read(list_members, tenant_id=place.id)
        emails = {user.id: user.email for user, _ in members}
        return _table(tokens, emails, core.clock.now())


def _table(tokens: Sequence[PersonalToken], emails: dict[str, str], now: datetime) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("ID", "USER", "NAME", "SCOPE", "CREATED", "EXPIRES", "LAST USED", "STATE")]
    for entry in tokens:
        state = "revoked" if entry.revoked_at else "expired" if entry.expires_at <= now else "active"
        rows.append(
            (
                entry.id,
                emails.get(entry.user_id, "(no member now)"),
                entry.name,
                entry.scope,
                _day(entry.created_at),
                _day(entry.expires_at),
                _day(entry.last_used_at),
                state,
            )
        )
    return rows


def _day(instant: datetime | None) -> str:
    return "never" if instant is None else instant.strftime("%Y-%m-%d")


@token.command()
@click.argument("token_id", metavar="ID")
@click.option("--tenant", required=True, metavar="SLUG", help="The tenant that the token belongs to.")
def revoke(token_id: str, tenant: str) -> None:
    """End the token with this ID (see `token list`) at once.

    \b
    Example:
      gateway-proxy token revoke 3f2a… --tenant acme
    """
    asyncio.run(_revoke(token_id, tenant))
    click.echo(f"Token {token_id} is revoked.", err=True)


async def _revoke(token_id: str, tenant: str) -> None:
    async with open_migrated() as core:
        place = await core.database.read(get_tenant, slug=tenant)
        await core.database.run(revoke_token, tenant=place, token_id=token_id, now=core.clock.now())
