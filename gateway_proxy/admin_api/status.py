"""GET /status: how the tenant's backends are doing. Names and states only: no credential, no address."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer
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
        return answer(
            {"version": self.version, "tenant": ctx.tenant.slug, "backends": [_entry(state) for state in states]}
        )


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
