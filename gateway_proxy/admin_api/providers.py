"""`/admin/providers`: a tenant's LLM APIs one by one (compatibility D11). `/admin/backends` is its older name."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer, read_json
from gateway_proxy.admin_api.shown import shown_provider
from gateway_proxy.provisioning.editing import origin_for
from gateway_proxy.provisioning.model_definitions import read_provider
from gateway_proxy.provisioning.provider_edits import ProviderEdits
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class Providers:
    """The definitions, with their secrets redacted in every answer. `plural` is what the list is called."""

    edits: ProviderEdits
    plural: str = "providers"

    async def list_all(self, request: Request) -> Response:
        """GET /admin/providers."""
        ctx = get_tenant_context(request.scope)
        return answer({self.plural: [shown_provider(provider, ctx) for provider in await self.edits.list_all(ctx)]})

    async def find(self, request: Request) -> Response:
        """GET /admin/providers/{name}."""
        ctx = get_tenant_context(request.scope)
        return answer(shown_provider(await self.edits.get(ctx, request.path_params["name"]), ctx))

    async def put(self, request: Request) -> Response:
        """PUT /admin/providers/{name}: add or replace it. What is left out has its default."""
        ctx = get_tenant_context(request.scope)
        provider = read_provider(request.path_params["name"], await read_json(request), origin=origin_for(ctx))
        return answer(shown_provider(await self.edits.put(ctx, provider), ctx))

    async def remove(self, request: Request) -> Response:
        """DELETE /admin/providers/{name}."""
        name = request.path_params["name"]
        await self.edits.remove(get_tenant_context(request.scope), name)
        return answer({"removed": name})
