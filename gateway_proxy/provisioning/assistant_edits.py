"""Adding, replacing and removing a tenant's assistants while the gateway runs: judged, stored, told, recorded."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.provisioning.editing import EditMeans, record_edit
from gateway_proxy.provisioning.problems import Problems
from gateway_proxy.provisioning.rules import check_references
from gateway_proxy.provisioning.value_faults import assistant_name_fault
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import assistants, backends, providers, tenants

MOST_ASSISTANTS: Final = 200
MOST_TEXT: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class AssistantEdits:
    """The edits. Every one is checked against its own tenant only, and is in the audit trail."""

    means: EditMeans

    async def list_all(self, ctx: TenantContext) -> list[Assistant]:
        """The tenant's assistants by name, as they are stored at this moment.

        Raises:
            StorageUnavailable: The database is out of reach.
        """
        return await self.means.database.read(assistants.list_assistants, tenant_id=ctx.tenant.id)

    async def get(self, ctx: TenantContext, name: str) -> Assistant:
        """One of them.

        Raises:
            NotFound: The tenant has none of that name.
            StorageUnavailable: The database is out of reach.
        """
        if assistant_name_fault(name) is None:
            found = await self.means.database.read(assistants.find_assistant, tenant_id=ctx.tenant.id, name=name)
            if found is not None:
                return found
        raise NotFound("assistant", name)

    async def put(self, ctx: TenantContext, assistant: Assistant) -> Assistant:
        """Add or replace it; it is a model of the tenant when this returns, at every worker. Returns what is stored.

        Raises:
            ConfigFileInvalid: It refers to something that the tenant does not have, or there would be too many.
            RateLimited: The tenant edits too often.
            NotFound: The tenant is gone.
            StorageUnavailable: The database is out of reach.
        """
        await self.means.count(ctx, "assistant")
        placed = replace(assistant, id=new_id(), tenant_id=ctx.tenant.id, revision=1)
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
        """Remove one; chats with it that are under way end as they would have.

        Raises:
            NotFound: The tenant has none of that name.
            StorageUnavailable: The database is out of reach.
        """
        if assistant_name_fault(name) is not None:
            raise NotFound("assistant", name)
        await self.means.database.run(_remove, tenant_id=ctx.tenant.id, ctx=ctx, name=name, now=self.means.clock.now())
        await self.means.announce(ctx.tenant.id)


# --- inside a transaction -------------------------------------------------------------------------------------------
def _put(
    session: Session, *, tenant_id: str, ctx: TenantContext, placed: Assistant, keyring: Keyring, now: datetime
) -> Assistant:
    """The tenant is held, so that what the assistant refers to is still there when it is stored."""
    if tenants.lock_tenant(session, tenant_id=tenant_id) is None:
        raise NotFound("tenant", ctx.tenant.slug)
    before = {each.name: each for each in assistants.list_assistants(session, tenant_id=tenant_id)}
    known = before.get(placed.name)
    problems = Problems()
    if known is None and len(before) >= MOST_ASSISTANTS:
        problems.add(("name",), f"expected at most {MOST_ASSISTANTS} assistants in a tenant")
    if _size(placed) > (0 if known is None else _size(known)):
        others = sum(_size(each) for each in before.values() if each.name != placed.name)
        if others + _size(placed) > MOST_TEXT:
            problems.add(("system_prompt",), f"expected at most {MOST_TEXT} bytes in all assistants of a tenant")
    check_references(
        placed.provider,
        placed.mcp_servers or (),
        providers={each.name for each in providers.list_providers(session, tenant_id=tenant_id, keyring=keyring)},
        servers={each.name for each in backends.list_backends(session, tenant_id=tenant_id, keyring=keyring)},
        path=(),
        problems=problems,
    )
    problems.raise_if_any()
    stored = assistants.put_assistant(session, tenant_id=tenant_id, assistant=placed, now=now)
    if known is None or known.revision != stored.revision:
        event = "assistant.added" if known is None else "assistant.replaced"
        record_edit(session, ctx, event, now, name=stored.name, provider=stored.provider, model=stored.model)
    return stored


def _remove(session: Session, *, tenant_id: str, ctx: TenantContext, name: str, now: datetime) -> None:
    if not assistants.remove_assistant(session, tenant_id=tenant_id, name=name):
        raise NotFound("assistant", name)
    record_edit(session, ctx, "assistant.removed", now, name=name)


def _size(assistant: Assistant) -> int:
    """The bytes that every worker reads and keeps for it: a tenant's models are held together."""
    texts = (assistant.system_prompt, assistant.description, json.dumps(assistant.extra_body, ensure_ascii=False))
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
