"""The one place where a TenantContext is made from a verified caller. There is no default tenant."""

from gateway_proxy.domain.principal import Principal
from gateway_proxy.domain.tenant import Tenant, TenantContext


def resolve_tenant_context(principal: Principal, tenant: Tenant) -> TenantContext:
    """The context in which the caller's request is served: the tenant of the token's row, and only that.

    A tenant that is not the token's is a programming error, and stops the request instead of crossing the border.
    """
    if tenant.id != principal.tenant_id:
        raise RuntimeError("a principal met a tenant that is not its own")
    return TenantContext(tenant=tenant, principal=principal)
