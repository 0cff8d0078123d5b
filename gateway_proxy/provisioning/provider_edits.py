"""Adding, replacing and removing a tenant's LLM APIs while the gateway runs: judged, stored, told, recorded.

A provider is not asked whether it is there: many are started when they are needed. A chat says what is wrong with one.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import NotFound, ProviderInUse
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.provisioning.editing import EditMeans, find_address_fault, record_edit
from gateway_proxy.provisioning.model_definitions import is_provider_name
from gateway_proxy.provisioning.problems import Problems
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import assistants, providers, tenants

MOST_PROVIDERS: Final = 100


@dataclass(frozen=True)
class ProviderEdits:
    """The edits. Every one is checked against its own tenant only, and is in the audit trail."""

    means: EditMeans
    guard: EgressGuard

    async def list_all(self, ctx: TenantContext) -> list[Provider]:
        """The tenant's providers by name, as they are stored at this moment.

        Raises:
            StorageUnavailable: The database is out of reach.
        """
        return await self.means.database.read(
            providers.list_providers, tenant_id=ctx.tenant.id, keyring=self.means.keyring
        )

    async def get(self, ctx: TenantContext, name: str) -> Provider:
        """One of them.

        Raises:
            NotFound: The tenant has none of that name.
            StorageUnavailable: The database is out of reach.
        """
        for provider in await self.list_all(ctx):
            if provider.name == name:
                return provider
        raise NotFound("provider", name)

    async def put(self, ctx: TenantContext, provider: Provider) -> Provider:
        """Add or replace it; the next chat of the tenant goes there, at whichever worker. Returns what is stored.

        Raises:
            ConfigFileInvalid: It may not be defined, or there would be too many.
            RateLimited: The tenant edits too often.
            NotFound: The tenant is gone.
            StorageUnavailable: The database is out of reach.
        """
        await self.means.count(ctx, "provider")
        problems = Problems()
        fault = await find_address_fault(self.guard, provider.base_url, origin=provider.origin, noun="provider")
        if fault is not None:
            problems.add(("base_url",), fault)
        problems.raise_if_any()
        placed = replace(provider, id=new_id(), tenant_id=ctx.tenant.id, revision=1)
        stored = await self.means.database.run(
            _put,
            tenant_id=ctx.tenant.id,
            ctx=ctx,
            placed=placed,
            keyring=self.means.keyring,
            now=self.means.clock.now(),
        )
        await self.means.announce(ctx.tenant.id)
        return stored

    async def remove(self, ctx: TenantContext, name: str) -> None:
        """Remove one that no assistant uses.

        Raises:
            NotFound: The tenant has none of that name.
            ProviderInUse: An assistant names it.
            StorageUnavailable: The database is out of reach.
        """
        if not is_provider_name(name):
            raise NotFound("provider", name)
        await self.means.database.run(_remove, tenant_id=ctx.tenant.id, ctx=ctx, name=name, now=self.means.clock.now())
        await self.means.announce(ctx.tenant.id)


# --- inside a transaction -------------------------------------------------------------------------------------------
def _put(
    session: Session, *, tenant_id: str, ctx: TenantContext, placed: Provider, keyring: Keyring, now: datetime
) -> Provider:
    if tenants.lock_tenant(session, tenant_id=tenant_id) is None:
        raise NotFound("tenant", ctx.tenant.slug)
    before = {each.name: each for each in providers.list_providers(session, tenant_id=tenant_id, keyring=keyring)}
    known = before.get(placed.name)
    if known is None and len(before) >= MOST_PROVIDERS:
        problems = Problems()
        problems.add(("name",), f"expected at most {MOST_PROVIDERS} providers in a tenant")
        problems.raise_if_any()
    stored = providers.put_provider(session, tenant_id=tenant_id, provider=placed, keyring=keyring, now=now)
    if known is None or known.revision != stored.revision:
        event = "provider.added" if known is None else "provider.replaced"
        record_edit(session, ctx, event, now, name=stored.name, kind=stored.kind)
    return stored


def _remove(session: Session, *, tenant_id: str, ctx: TenantContext, name: str, now: datetime) -> None:
    """The tenant is held, so that no assistant that names the provider is added meanwhile."""
    tenants.lock_tenant(session, tenant_id=tenant_id)
    stored = assistants.list_assistants(session, tenant_id=tenant_id)
    if not providers.remove_provider(session, tenant_id=tenant_id, name=name):
        raise NotFound("provider", name)
    users = tuple(assistant.name for assistant in stored if assistant.provider == name)
    if users:
        raise ProviderInUse(name, users)
    record_edit(session, ctx, "provider.removed", now, name=name)
