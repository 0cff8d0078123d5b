"""The first start of the embedded default (`serve --bootstrap`, which `scripts/run` uses): something to look at.

Only into an empty database, and its secrets are printed once. A deployment uses a configuration file instead.
"""

import shutil
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.ids import new_id, new_password
from gateway_proxy.domain.tenant import Role, Tenant
from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT
from gateway_proxy.provisioning.people import add_member, add_token, get_member
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.services import Core
from gateway_proxy.storage.sql.backends import list_backends, put_backend
from gateway_proxy.storage.sql.tenants import add_tenant, find_tenant_by_slug, list_tenants
from gateway_proxy.storage.sql.users import list_users

ADMINISTRATOR: Final = "admin@example.com"
DEMO: Final = "demo"
PROGRAM: Final = "gateway-proxy"
DEMO_ARGUMENTS: Final = ("-m", "gateway_proxy.demo")
TOKEN_TTL: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """What is printed once."""

    password: str = field(repr=False)
    token: str = field(repr=False)


async def bootstrap(core: Core) -> FirstSecrets | None:
    """Fill an empty database, in one transaction; None when it was filled before."""
    password = new_password()
    if not await core.database.read(_is_empty):
        await core.database.run(_refresh_demo, keyring=core.keyring, now=core.clock.now())
        return None
    password_hash = await core.hasher.hash(password)
    token = await core.database.run(_fill, keyring=core.keyring, password_hash=password_hash, now=core.clock.now())
    return None if token is None else FirstSecrets(password, token)


def welcome(public_url: str, secrets: FirstSecrets | None, *, program: str) -> str:
    """What a person needs to go on, for the terminal; `program` is how to call us from there."""
    lines = ["", "The gateway is starting. What you need:", ""]
    lines.append(f"  Sign in            {public_url}/sign-in")
    if secrets is not None:
        lines += [f"    e-mail:          {ADMINISTRATOR}", f"    one-time password: {secrets.password}"]
    lines += [
        "",
        f"  Claude and others  {public_url}/mcp",
        "    add it as a custom connector; the browser asks you to sign in and to allow it",
        "    (Claude on the web needs a public https address: see docs/setup)",
        "",
        f"  Open WebUI         {public_url}/v1",
        "    Settings, Connections, OpenAI API: this URL, the model is mcp-gateway, and as key",
    ]
    if secrets is not None:
        lines += [f"    bearer token:    {secrets.token}", "", "  These secrets are shown only now. Lost them?"]
    else:
        lines += ["    a token of yours", "", "  Its secrets were shown at the first start. Lost them?"]
    lines += [
        f"    {program} user add {ADMINISTRATOR} --tenant {DEFAULT_TENANT} --role owner --password-stdin",
        f'    {program} token create --user {ADMINISTRATOR} --tenant {DEFAULT_TENANT} --scope "mcp openai"',
        "",
        f"  Next: put your own servers into a gateway.yaml (README.md), then: {program} apply gateway.yaml",
        "",
    ]
    return "\n".join(lines)


def program_path() -> str:
    """How this installation is called from the current folder: by its name where a shell finds it, else its path."""
    beside = Path(sys.executable).with_name(PROGRAM)
    if shutil.which(PROGRAM) == str(beside) or not beside.exists():
        return PROGRAM
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)


def _is_empty(session: Session) -> bool:
    return not list_tenants(session) and not list_users(session)


def _fill(session: Session, *, keyring: Keyring, password_hash: str, now: datetime) -> str | None:
    if not _is_empty(session):
        return None
    tenant = Tenant(new_id(), DEFAULT_TENANT, "Default")
    add_tenant(session, tenant=tenant, now=now)
    put_backend(session, tenant_id=tenant.id, backend=_demo(tenant.id), keyring=keyring, now=now)
    add_member(session, slug=tenant.slug, email=ADMINISTRATOR, role=Role.OWNER, password_hash=password_hash, now=now)
    _, member = get_member(session, slug=tenant.slug, email=ADMINISTRATOR)
    return add_token(session, member=member, scope="mcp openai", name="first start", ttl=TOKEN_TTL, now=now)


def _refresh_demo(session: Session, *, keyring: Keyring, now: datetime) -> None:
    """The virtual environment may have moved since; the demo backend follows it. Other definitions are not touched."""
    tenant = find_tenant_by_slug(session, slug=DEFAULT_TENANT)
    if tenant is None:
        return
    for backend in list_backends(session, tenant_id=tenant.id, keyring=keyring):
        if backend.name == DEMO and backend.args == DEMO_ARGUMENTS and backend.command != sys.executable:
            put_backend(session, tenant_id=tenant.id, backend=_demo(tenant.id), keyring=keyring, now=now)


def _demo(tenant_id: str) -> Backend:
    return Backend(
        id=new_id(),
        tenant_id=tenant_id,
        name=DEMO,
        transport=Transport.STDIO,
        origin="operator",
        revision=1,
        command=sys.executable,
        args=DEMO_ARGUMENTS,
    )
