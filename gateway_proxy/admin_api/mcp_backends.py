"""`/admin/mcp`: a tenant's MCP backends one by one (compatibility D11), over the same edits as `/servers`."""

from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.admin_api.endpoint import answer, read_json
from gateway_proxy.admin_api.errors import NO_STORE, Refused
from gateway_proxy.admin_api.shown import shown
from gateway_proxy.domain.errors import RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.provisioning.backend_edits import BackendEdits
from gateway_proxy.provisioning.definitions import read_server
from gateway_proxy.provisioning.editing import origin_for
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.tenancy.middleware import get_tenant_context

_ADMINISTRATOR: Final = Caller(None, "2025-11-25", b"{}", b"{}", modern=False, surface="admin")


_NOTHING: Final = msgspec.Raw(b"null")


class _Listed(msgspec.Struct):
    name: str
    description: msgspec.Raw = _NOTHING
    inputSchema: msgspec.Raw = _NOTHING  # noqa: N815 - the name on the wire


class _Tool(msgspec.Struct):
    """One entry of the answer. What the backend wrote stays as it wrote it, unread."""

    name: str
    listed_as: str
    description: msgspec.Raw
    input_schema: msgspec.Raw


class _Answer(msgspec.Struct):
    name: str
    tools: list[_Tool]


@dataclass(frozen=True)
class McpBackends:
    """The definitions, with their secrets redacted in every answer."""

    edits: BackendEdits

    async def list_all(self, request: Request) -> Response:
        """GET /admin/mcp."""
        ctx = get_tenant_context(request.scope)
        return answer({"mcp_servers": [shown(backend, ctx) for backend in await self.edits.list_all(ctx)]})

    async def find(self, request: Request) -> Response:
        """GET /admin/mcp/{name}."""
        ctx = get_tenant_context(request.scope)
        return answer(shown(await self.edits.get(ctx, request.path_params["name"]), ctx))

    async def put(self, request: Request) -> Response:
        """PUT /admin/mcp/{name}: add or replace it; it is connected to first. What is left out has its default."""
        ctx = get_tenant_context(request.scope)
        definition = read_server(request.path_params["name"], await read_json(request), origin=origin_for(ctx))
        (stored,) = await self.edits.put(ctx, [definition])
        return answer(shown(stored, ctx))

    async def remove(self, request: Request) -> Response:
        """DELETE /admin/mcp/{name}."""
        name = request.path_params["name"]
        await self.edits.remove(get_tenant_context(request.scope), name)
        return answer({"removed": name})


@dataclass(frozen=True)
class McpBackendTools:
    """What one backend lists."""

    edits: BackendEdits
    catalog: Catalog

    async def list_all(self, request: Request) -> Response:
        """GET /admin/mcp/{name}/tools: `name` is the backend's own, `listed_as` the one that clients see."""
        ctx = get_tenant_context(request.scope)
        backend = await self.edits.get(ctx, request.path_params["name"])
        tools = [await self._tool(ctx, definition) for definition in await self._definitions(ctx, backend.name)]
        await self._check_listed(ctx, backend.name)
        body = msgspec.json.encode(_Answer(backend.name, tools))
        return Response(body, media_type="application/json", headers=NO_STORE)

    async def _definitions(self, ctx: TenantContext, server: str) -> list[bytes]:
        found: list[bytes] = []
        cursor: str | None = None
        while True:
            page = await self.catalog.list_tools(ctx, _ADMINISTRATOR, cursor=cursor, servers=(server,))
            found += page.definitions
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def _tool(self, ctx: TenantContext, definition: bytes) -> _Tool:
        listed = msgspec.json.decode(definition, type=_Listed)
        try:
            name = (await self.catalog.find_route(ctx, listed.name)).upstream_name
        except RelayError:  # the list has changed since
            name = listed.name
        return _Tool(name, listed.name, listed.description, listed.inputSchema)

    async def _check_listed(self, ctx: TenantContext, server: str) -> None:
        """An empty list is an answer only when the backend gave one."""
        status = next((each for each in await self.catalog.status(ctx) if each.name == server), None)
        if status is None:
            raise Refused(502, "The server's tools cannot be listed.", (f"{server}: it is disabled",))
        if status.listed_at is None:
            problem = status.problem or "it has not answered yet"
            raise Refused(502, "The server's tools cannot be listed.", (f"{server}: {problem}",))
