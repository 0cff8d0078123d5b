"""May this caller use this route, now? The only place that says no to a routed call."""

from typing import Final

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import RateLimited, ToolUnknown
from gateway_proxy.domain.principal import Scope
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.route import Route

CALLS_PER_TENANT: Final = 1024
_CALLING_SCOPES: Final = frozenset({Scope.MCP.value, Scope.OPENAI.value})


class Policy:
    """Checks a caller against a route and counts calls under way, so that one tenant cannot starve the others."""

    def __init__(self, *, calls_per_tenant: int = CALLS_PER_TENANT) -> None:
        self._limit = calls_per_tenant
        self._under_way: dict[str, int] = {}

    def authorize(self, ctx: TenantContext, route: Route) -> None:
        """Let the call pass: the token's tenant is the route's, and the token may call tools at all.

        A foreign tool is the same as an unknown one (security.md T4).

        Raises:
            ToolUnknown: It may not.
        """
        if not self.permits(ctx, route.backend):
            raise ToolUnknown(route.name)

    def permits(self, ctx: TenantContext, backend: Backend) -> bool:
        """Whether this caller may use this backend: one tenant for token, context and backend, and a scope for it."""
        tenant_id = ctx.tenant.id
        return (
            ctx.principal.tenant_id == tenant_id
            and backend.tenant_id == tenant_id
            and not _CALLING_SCOPES.isdisjoint(ctx.principal.scopes)
        )

    def admit(self, ctx: TenantContext) -> None:
        """Take a place among the tenant's calls under way in this worker; `leave` gives it back.

        Raises:
            RateLimited: None is free.
        """
        tenant_id = ctx.tenant.id
        count = self._under_way.get(tenant_id, 0)
        if count >= self._limit:
            raise RateLimited(1.0)
        self._under_way[tenant_id] = count + 1

    def leave(self, ctx: TenantContext) -> None:
        """A call that was admitted is over."""
        tenant_id = ctx.tenant.id
        left = self._under_way[tenant_id] - 1
        if left:
            self._under_way[tenant_id] = left
        else:
            del self._under_way[tenant_id]
