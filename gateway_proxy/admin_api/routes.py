"""The routes of the admin surface, in one list. The doors before them are the composition root's."""

from dataclasses import dataclass

from starlette.routing import Route

from gateway_proxy.admin_api.endpoint import Endpoint
from gateway_proxy.admin_api.mcp_backends import McpBackends, McpBackendTools
from gateway_proxy.admin_api.servers import Servers, Tools
from gateway_proxy.admin_api.status import StatusPage
from gateway_proxy.provisioning.backend_edits import BackendEdits
from gateway_proxy.router.catalog import Catalog


@dataclass(frozen=True)
class AdminServices:
    """What the handlers are made of."""

    edits: BackendEdits
    catalog: Catalog
    version: str


def admin_routes(services: AdminServices) -> list[Route]:
    """Everything that acts in one tenant."""
    servers, tools = Servers(services.edits), Tools(services.catalog)
    backends = McpBackends(services.edits)
    backend_tools = McpBackendTools(services.edits, services.catalog)
    status = StatusPage(services.catalog, services.version)
    one = {"GET": backends.find, "PUT": backends.put, "DELETE": backends.remove}
    return [
        Route("/status", Endpoint({"GET": status.handle})),
        Route("/servers", Endpoint({"GET": servers.list_names, "POST": servers.add})),
        Route("/servers/{name}", Endpoint({"DELETE": servers.remove})),
        Route("/tools", Endpoint({"GET": tools.list_names})),
        Route("/admin/mcp", Endpoint({"GET": backends.list_all})),
        Route("/admin/mcp/{name}", Endpoint(one)),
        Route("/admin/mcp/{name}/tools", Endpoint({"GET": backend_tools.list_all})),
    ]
