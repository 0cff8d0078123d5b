"""Adding, replacing and removing a tenant's backends while the gateway runs: judged, tried, stored, told, recorded.

The one way for whoever edits at run time (the admin surface, a page). Files go through `apply`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy.orm import Session

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import NotFound, TrialFailed
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.provisioning.definitions import Definition, is_server_name
from gateway_proxy.provisioning.editing import EditMeans, find_address_fault, record_edit
from gateway_proxy.provisioning.problems import KeyPath, Problems
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import backends, tenants

MOST_BACKENDS: Final = 200
TRIALS_AT_ONCE: Final = 8


class Trials(Protocol):
    """What is needed of `router.trials.Trials`."""

    async def find_problem(self, backend: Backend) -> str | None:
        """Connect; None when that went well."""

    def end(self, backends: Sequence[Backend]) -> None:
        """Let go of what trials of these opened."""


@dataclass(frozen=True)
class BackendEdits:
    """The edits. Every one is checked against its own tenant only, and is in the audit trail."""

    means: EditMeans
    guard: EgressGuard
    trials: Trials

    async def list_all(self, ctx: TenantContext) -> list[Backend]:
        """The tenant's backends by name, disabled ones included, as they are stored at this moment.

        Raises:
            StorageUnavailable: The database is out of reach.
        """
        return await self.means.database.read(
            backends.list_backends, tenant_id=ctx.tenant.id, keyring=self.means.keyring
        )

    async def get(self, ctx: TenantContext, name: str) -> Backend:
        """One of them.

        Raises:
            NotFound: The tenant has none of that name.
            StorageUnavailable: The database is out of reach.
        """
        for backend in await self.list_all(ctx):
            if backend.name == name:
                return backend
        raise NotFound("server", name)

    async def put(self, ctx: TenantContext, definitions: Sequence[Definition]) -> list[Backend]:
        """Add or replace all of them, or none. Each is connected to first, unless it is disabled.

        Raises:
            ConfigFileInvalid: One may not be defined, or does not fit what the tenant has.
            TrialFailed: One cannot be connected to.
            RateLimited: The tenant edits too often.
            NotFound: The tenant is gone.
            StorageUnavailable: The database is out of reach.
        """
        await self.means.count(ctx, "backend")
        await self._check_addresses(definitions)
        await self.means.database.read(
            _check_fit, tenant_id=ctx.tenant.id, definitions=definitions, keyring=self.means.keyring
        )
        tried = [replace(entry.backend, id=new_id(), tenant_id=ctx.tenant.id, revision=1) for entry in definitions]
        kept: set[str] = set()
        try:
            await self._try(tried)
            stored = await self.means.database.run(
                _put,
                tenant_id=ctx.tenant.id,
                ctx=ctx,
                definitions=definitions,
                placed=tried,
                keyring=self.means.keyring,
                now=self.means.clock.now(),
            )
            kept |= {backend.id for backend in stored}
        finally:
            self.trials.end([backend for backend in tried if backend.id not in kept])
        await self.means.announce(ctx.tenant.id)
        return stored

    async def remove(self, ctx: TenantContext, name: str) -> None:
        """Remove one; its tools are gone when this returns, in the other workers as soon as the news arrives.

        Raises:
            NotFound: The tenant has none of that name.
            StorageUnavailable: The database is out of reach.
        """
        if not is_server_name(name):
            raise NotFound("server", name)
        await self.means.database.run(_remove, tenant_id=ctx.tenant.id, ctx=ctx, name=name, now=self.means.clock.now())
        await self.means.announce(ctx.tenant.id)

    async def _check_addresses(self, definitions: Sequence[Definition]) -> None:
        """Before anything is connected to: a tenant may name public addresses and what the operator allows."""
        problems = Problems()
        written = [
            (entry, key, url)
            for entry in definitions
            for key, url in (("url", entry.backend.url), ("base_url", entry.backend.base_url))
            if url is not None
        ]
        faults = await asyncio.gather(
            *(
                find_address_fault(self.guard, url, origin=entry.backend.origin, noun="server")
                for entry, _, url in written
            )
        )
        for (entry, key, _), fault in zip(written, faults, strict=True):
            if fault is not None:
                problems.add((*entry.path, key), fault)
        problems.raise_if_any()

    async def _try(self, tried: Sequence[Backend]) -> None:
        enabled = [backend for backend in tried if backend.enabled]
        places = asyncio.Semaphore(TRIALS_AT_ONCE)

        async def find_problem(backend: Backend) -> str | None:
            async with places:
                return await self.trials.find_problem(backend)

        faults = await asyncio.gather(*map(find_problem, enabled))
        problems = [f"{each.name}: {fault}" for each, fault in zip(enabled, faults, strict=True) if fault is not None]
        if problems:
            raise TrialFailed(tuple(problems))


# --- inside a transaction -------------------------------------------------------------------------------------------
def _check_fit(session: Session, *, tenant_id: str, definitions: Sequence[Definition], keyring: Keyring) -> None:
    """Hold the definitions against what the tenant has: how many, names that differ in case only, `prefix: none`."""
    tenant = tenants.find_tenant(session, tenant_id=tenant_id)
    if tenant is None:
        raise NotFound("tenant", tenant_id)
    stored = {each.name for each in backends.list_backends(session, tenant_id=tenant_id, keyring=keyring)}
    problems = Problems()
    spellings = {name.lower(): name for name in stored}
    for entry in definitions:
        name = entry.backend.name
        other = spellings.setdefault(name.lower(), name)
        if other != name:
            problems.add(entry.path, f'the name "{name}" differs from "{other}" only in case')
    after = stored | {entry.backend.name for entry in definitions}
    added_at: KeyPath = next((entry.path for entry in definitions if entry.backend.name not in stored), ())
    if tenant.naming.prefix == "none" and len(after) > 1 and not after <= stored:
        problems.add(added_at, f'naming.prefix "none" is for one server, and there would be {len(after)}')
    if len(after) > MOST_BACKENDS:
        problems.add(added_at, f"expected at most {MOST_BACKENDS} servers in a tenant, and there would be {len(after)}")
    problems.raise_if_any()


def _put(
    session: Session,
    *,
    tenant_id: str,
    ctx: TenantContext,
    definitions: Sequence[Definition],
    placed: Sequence[Backend],
    keyring: Keyring,
    now: datetime,
) -> list[Backend]:
    tenants.lock_tenant(session, tenant_id=tenant_id)
    _check_fit(session, tenant_id=tenant_id, definitions=definitions, keyring=keyring)
    before = {each.name: each for each in backends.list_backends(session, tenant_id=tenant_id, keyring=keyring)}
    stored = []
    for backend in placed:
        each = backends.put_backend(session, tenant_id=tenant_id, backend=backend, keyring=keyring, now=now)
        known = before.get(each.name)
        if known is None or known.revision != each.revision:
            event = "backend.added" if known is None else "backend.replaced"
            record_edit(session, ctx, event, now, name=each.name, transport=each.transport.value)
        stored.append(each)
    return stored


def _remove(session: Session, *, tenant_id: str, ctx: TenantContext, name: str, now: datetime) -> None:
    if not backends.remove_backend(session, tenant_id=tenant_id, name=name):
        raise NotFound("server", name)
    record_edit(session, ctx, "backend.removed", now, name=name)
