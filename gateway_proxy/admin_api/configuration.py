"""`/admin/config`: everything that the tenant's configuration says, on one page (compatibility D11)."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer
from gateway_proxy.admin_api.shown import shown, shown_apiman, shown_assistant, shown_provider
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.provisioning.current_state import CurrentTenant, StoredConfiguration
from gateway_proxy.provisioning.definitions import REDACTED
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class ConfigurationPage:
    """The page, with every credential redacted."""

    stored: StoredConfiguration

    async def handle(self, request: Request) -> Response:
        """GET /admin/config."""
        ctx = get_tenant_context(request.scope)
        return answer(_shown_configuration(await self.stored.get(ctx), ctx))


def _shown_configuration(current: CurrentTenant, ctx: TenantContext) -> dict[str, Any]:
    tenant = current.tenant
    return {
        "tenant": {
            "slug": tenant.slug,
            "name": tenant.name,
            "naming": {"prefix": tenant.naming.prefix, "separator": tenant.naming.separator},
        },
        "mcp_servers": [shown(backend, ctx) for backend in current.backends],
        "providers": [shown_provider(provider, ctx) for provider in current.providers],
        "assistants": [shown_assistant(assistant) for assistant in current.assistants],
        "proxy_api_keys": [{"name": key.name, "key": REDACTED} for key in current.static_keys],
        "apiman": _shown_apiman(current, ctx),
    }


def _shown_apiman(current: CurrentTenant, ctx: TenantContext) -> dict[str, Any] | None:
    if current.has_unreadable_apiman:
        return {"unreadable": True}
    return None if current.apiman is None else shown_apiman(current.apiman, ctx)
