"""GET /status: how the tenant's backends are doing. Names and states only: no credential, no address."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.router.catalog import BackendStatus, Catalog
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class StatusPage:
    """The page, for the tenant of the token."""

    catalog: Catalog
    version: str

    async def handle(self, request: Request) -> Response:
        """Answer with one entry per backend, in the order of the tools list."""
        ctx = get_tenant_context(request.scope)
        try:
            states = await self.catalog.status(ctx)
        except StorageUnavailable:
            body = {"error": "The database cannot be reached.", "details": []}
            return JSONResponse(body, status_code=503, headers={"Retry-After": "2"})
        return JSONResponse(
            {"version": self.version, "tenant": ctx.tenant.slug, "backends": [_entry(state) for state in states]},
            headers={"Cache-Control": "no-store"},
        )


def _entry(state: BackendStatus) -> dict[str, object]:
    return {
        "name": state.name,
        "transport": state.transport,
        "state": state.state,
        "tools": state.tools,
        "problem": state.problem,
        "notes": list(state.notes),
        "listed_at": None if state.listed_at is None else state.listed_at.isoformat(),
    }
