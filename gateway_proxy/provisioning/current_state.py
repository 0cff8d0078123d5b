"""What the database holds now, in the shape that a desired state is compared with. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import KeyUnknown, NotFound
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Role, Tenant, TenantContext, User
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import assistants, backends, key_probes, providers, static_keys, tenants, users
from gateway_proxy.storage.sql.database import Database


@dataclass(frozen=True, slots=True)
class CurrentTenant:
    """One stored tenant with what it owns, credentials opened."""

    tenant: Tenant
    backends: tuple[Backend, ...] = ()
    providers: tuple[Provider, ...] = ()
    assistants: tuple[Assistant, ...] = ()
    static_keys: tuple[StaticKey, ...] = ()
    apiman: Apiman | None = None
    has_unreadable_apiman: bool = False


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """One stored person; `tenants` maps the slugs of their tenants to their role there."""

    user: User
    password_hash: str | None = field(default=None, repr=False)
    tenants: Mapping[str, Role] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredConfiguration:
    """What a tenant has at this moment, for a surface that shows it."""

    database: Database
    keyring: Keyring

    async def get(self, ctx: TenantContext) -> CurrentTenant:
        """The caller's tenant, read in one transaction. Who shows it leaves the credentials out.

        Raises:
            NotFound: The tenant is gone.
            StorageUnavailable: The database is out of reach.
        """
        found = await self.database.read(_find_own, tenant_id=ctx.tenant.id, keyring=self.keyring)
        if found is None:
            raise NotFound("tenant", ctx.tenant.slug)
        return found


def find_current_tenant(session: Session, *, slug: str, keyring: Keyring) -> CurrentTenant | None:
    """The tenant of that slug as it is stored."""
    tenant = tenants.find_tenant_by_slug(session, slug=slug)
    return None if tenant is None else _with_belongings(session, tenant, keyring)


def list_current_tenants(session: Session, *, keyring: Keyring) -> list[CurrentTenant]:
    """Every tenant as it is stored."""
    return [_with_belongings(session, tenant, keyring) for tenant in tenants.list_tenants(session)]


def find_current_user(session: Session, *, email: str) -> CurrentUser | None:
    """The person of that address as stored."""
    found = users.find_password_hash(session, email=email)
    if found is None:
        return None
    user, password_hash = found
    return CurrentUser(user, password_hash, _roles(session, user))


def list_current_users(session: Session) -> list[CurrentUser]:
    """Everybody, without their password hashes."""
    return [CurrentUser(user, None, _roles(session, user)) for user in users.list_users(session)]


def _find_own(session: Session, *, tenant_id: str, keyring: Keyring) -> CurrentTenant | None:
    tenant = tenants.find_tenant(session, tenant_id=tenant_id)
    return None if tenant is None else _with_belongings(session, tenant, keyring)


def _with_belongings(session: Session, tenant: Tenant, keyring: Keyring) -> CurrentTenant:
    try:
        apiman, is_unreadable = key_probes.find_key_probe(session, tenant_id=tenant.id, keyring=keyring), False
    except KeyUnknown:
        apiman, is_unreadable = None, True
    return CurrentTenant(
        tenant,
        tuple(backends.list_backends(session, tenant_id=tenant.id, keyring=keyring)),
        tuple(providers.list_providers(session, tenant_id=tenant.id, keyring=keyring)),
        tuple(assistants.list_assistants(session, tenant_id=tenant.id)),
        tuple(static_keys.list_static_keys(session, tenant_id=tenant.id)),
        apiman,
        is_unreadable,
    )


def _roles(session: Session, user: User) -> dict[str, Role]:
    return {membership.tenant.slug: membership.role for membership in users.list_memberships(session, user_id=user.id)}
