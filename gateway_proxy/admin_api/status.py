"""GET /status: how the tenant's backends are doing. Names and states, no credential, no address; and of a program that
does not work what it said last, which nobody but the tenant's administrators and the operator gets to read.
"""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer
from gateway_proxy.admin_api.last_words import clean_lines
from gateway_proxy.admin_api.shown import answers_for
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.status import BackendStatus
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class StatusPage:
    """The page, for the tenant of the token."""

    catalog: Catalog
    version: str

    async def handle(self, request: Request) -> Response:
        """Answer with one entry per backend, in the order of the tools list."""
        ctx = get_tenant_context(request.scope)
        states = await self.catalog.status(ctx)
        faults = await asyncio.gather(*(self._fault(ctx, state) for state in states))
        entries = [_entry(state) | {"fault": fault} for state, fault in zip(states, faults, strict=True)]
        return answer({"version": self.version, "tenant": ctx.tenant.slug, "backends": entries})

    async def _fault(self, ctx: TenantContext, state: BackendStatus) -> dict[str, object] | None:
        """Why a program ended or did not start, where that is the problem."""
        found = None if state.problem is None else await self.catalog.find_fault(ctx, state.name)
        if found is None:
            return None
        backend, fault = found
        lines = clean_lines(fault.stderr, backend, with_arguments=answers_for(ctx, backend.origin))
        return {"reason": fault.reason, "stderr": lines}


def _entry(state: BackendStatus) -> dict[str, object]:
    return {
        "name": state.name,
        "transport": state.transport,
        "state": state.state,
        "tools": state.tools,
        "prompts": state.prompts,
        "resources": state.resources,
        "templates": state.templates,
        "problem": state.problem,
        "notes": list(state.notes),
        "listed_at": None if state.listed_at is None else state.listed_at.isoformat(),
    }
