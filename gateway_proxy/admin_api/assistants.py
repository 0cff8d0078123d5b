"""`/admin/assistants`: a tenant's virtual models one by one (compatibility D11)."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer, read_json
from gateway_proxy.admin_api.shown import shown_assistant
from gateway_proxy.provisioning.assistant_edits import AssistantEdits
from gateway_proxy.provisioning.editing import origin_for
from gateway_proxy.provisioning.model_definitions import read_assistant
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class Assistants:
    """The definitions."""

    edits: AssistantEdits

    async def list_all(self, request: Request) -> Response:
        """GET /admin/assistants."""
        found = await self.edits.list_all(get_tenant_context(request.scope))
        return answer({"assistants": [shown_assistant(assistant) for assistant in found]})

    async def find(self, request: Request) -> Response:
        """GET /admin/assistants/{name}."""
        found = await self.edits.get(get_tenant_context(request.scope), request.path_params["name"])
        return answer(shown_assistant(found))

    async def put(self, request: Request) -> Response:
        """PUT /admin/assistants/{name}: add or replace it. What is left out has its default."""
        ctx = get_tenant_context(request.scope)
        assistant = read_assistant(request.path_params["name"], await read_json(request), origin=origin_for(ctx))
        return answer(shown_assistant(await self.edits.put(ctx, assistant)))

    async def remove(self, request: Request) -> Response:
        """DELETE /admin/assistants/{name}: it is no model any more when this is answered."""
        name = request.path_params["name"]
        await self.edits.remove(get_tenant_context(request.scope), name)
        return answer({"removed": name})
