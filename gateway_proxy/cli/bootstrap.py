"""The first start of the embedded default (`serve --bootstrap`, which `scripts/run` uses): something to look at.

Only into an empty database, and its secrets are printed once. A deployment uses a configuration file instead.
"""

import sys
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.cli.welcome import ADMINISTRATOR, FirstSecrets
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.ids import new_id, new_password
from gateway_proxy.domain.tenant import Role, Tenant
from gateway_proxy.foundation import Core
from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT
from gateway_proxy.provisioning.people import add_member, add_token, get_member
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.backends import list_backends, put_backend
from gateway_proxy.storage.sql.tenants import add_tenant, find_tenant_by_slug, list_tenants
from gateway_proxy.storage.sql.users import list_users

DEMO: Final = "demo"
DEMO_ARGUMENTS: Final = ("-m", "gateway_proxy.demo")
TOKEN_TTL: Final = timedelta(days=90)


async def bootstrap(core: Core) -> FirstSecrets | None:
    """Fill an empty database, in one transaction; None when it was filled before."""
    password = new_password()
    if not await core.database.read(_is_empty):
        await core.database.run(_refresh_demo, keyring=core.keyring, now=core.clock.now())
        return None
    password_hash = await core.hasher.hash(password)
    token = await core.database.run(_fill, keyring=core.keyring, password_hash=password_hash, now=core.clock.now())
    return None if token is None else FirstSecrets(password, token)


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
