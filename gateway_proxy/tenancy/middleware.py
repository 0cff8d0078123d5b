"""Puts the TenantContext into a request's state, behind `RequireScope`. Pure ASGI; reads no header and no argument."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.tenancy.resolver import resolve_tenant_context


class ResolveTenant:
    """Give the surface behind it the tenant its caller acts in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of the surface, whose scope now has the context."""
        if scope["type"] == "http":
            state = scope["state"]
            state["tenant_context"] = resolve_tenant_context(state["principal"], state["tenant"])
        return self._app(scope, receive, send)


def get_tenant_context(scope: Scope) -> TenantContext:
    """The context of a request that came through `ResolveTenant`; a KeyError is a route mounted wrongly."""
    context: TenantContext = scope["state"]["tenant_context"]
    return context


def find_tenant_context(scope: Scope) -> TenantContext | None:
    """The context, None for the operator's key on a page that is of no tenant."""
    context: TenantContext | None = scope.get("state", {}).get("tenant_context")
    return context
