"""`/servers` and `/tools`: the management routes of the aggregating proxy (compatibility B9-B12), per tenant."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer, read_json
from gateway_proxy.provisioning.backend_edits import BackendEdits
from gateway_proxy.provisioning.definitions import read_servers
from gateway_proxy.provisioning.editing import origin_for
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.tenancy.middleware import get_tenant_context


@dataclass(frozen=True)
class Servers:
    """The servers of the caller's tenant, by name."""

    edits: BackendEdits

    async def list_names(self, request: Request) -> Response:
        """GET /servers: the names, sorted; disabled servers are among them."""
        backends = await self.edits.list_all(get_tenant_context(request.scope))
        return answer({"servers": sorted(backend.name for backend in backends)})

    async def add(self, request: Request) -> Response:
        """POST /servers: add or replace those in the body, all or none; they are connected to first."""
        ctx = get_tenant_context(request.scope)
        definitions = read_servers(await read_json(request), origin=origin_for(ctx))
        stored = await self.edits.put(ctx, definitions)
        return answer({"added": sorted(backend.name for backend in stored)})

    async def remove(self, request: Request) -> Response:
        """DELETE /servers/{name}: its tools vanish at once, in every worker."""
        name = request.path_params["name"]
        await self.edits.remove(get_tenant_context(request.scope), name)
        return answer({"removed": name})


@dataclass(frozen=True)
class Tools:
    """GET /tools: the listed names of every enabled server; a server that lists none has an empty list."""

    catalog: Catalog

    async def list_names(self, request: Request) -> Response:
        """Answer from the lists that callers of /mcp get."""
        servers = await self.catalog.list_servers(get_tenant_context(request.scope))
        return answer({"tools": {server: sorted(names) for server, names in sorted(servers.items())}})
