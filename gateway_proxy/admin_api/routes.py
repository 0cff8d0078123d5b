"""The routes of the admin surface, in two lists. The doors before them are the composition root's."""

from dataclasses import dataclass

from starlette.routing import Route

from gateway_proxy.admin_api.assistants import Assistants
from gateway_proxy.admin_api.configuration import ConfigurationPage
from gateway_proxy.admin_api.endpoint import Endpoint, Handler
from gateway_proxy.admin_api.mcp_backends import McpBackends, McpBackendTools
from gateway_proxy.admin_api.metrics import MetricsPage
from gateway_proxy.admin_api.providers import Providers
from gateway_proxy.admin_api.servers import Servers, Tools
from gateway_proxy.admin_api.status import StatusPage
from gateway_proxy.provisioning.assistant_edits import AssistantEdits
from gateway_proxy.provisioning.backend_edits import BackendEdits
from gateway_proxy.provisioning.current_state import StoredConfiguration
from gateway_proxy.provisioning.provider_edits import ProviderEdits
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.telemetry.metrics import Metrics


@dataclass(frozen=True)
class AdminServices:
    """What the handlers are made of."""

    public_url: str
    edits: BackendEdits
    provider_edits: ProviderEdits
    assistant_edits: AssistantEdits
    configuration: StoredConfiguration
    catalog: Catalog
    metrics: Metrics
    version: str


def tenant_routes(services: AdminServices) -> list[Route]:
    """Everything that acts in one tenant."""
    servers, tools = Servers(services.edits), Tools(services.catalog)
    backends = McpBackends(services.edits)
    backend_tools = McpBackendTools(services.edits, services.catalog)
    status = StatusPage(services.catalog, services.version)
    table: dict[str, dict[str, Handler]] = {
        "/status": {"GET": status.handle},
        "/servers": {"GET": servers.list_names, "POST": servers.add},
        "/servers/{name}": {"DELETE": servers.remove},
        "/tools": {"GET": tools.list_names},
        "/admin/config": {"GET": ConfigurationPage(services.configuration).handle},
        "/admin/mcp": {"GET": backends.list_all},
        "/admin/mcp/{name}": {"GET": backends.find, "PUT": backends.put, "DELETE": backends.remove},
        "/admin/mcp/{name}/tools": {"GET": backend_tools.list_all},
    }
    return [
        *(Route(path, Endpoint(services.public_url, handlers)) for path, handlers in table.items()),
        *_provider_routes(services),
        *_assistant_routes(services),
    ]


def _provider_routes(services: AdminServices) -> list[Route]:
    """Under both names: `/admin/backends` is what older clients call the same (contract, Surfaces)."""
    routes = []
    for plural in ("providers", "backends"):
        providers = Providers(services.provider_edits, plural)
        one: dict[str, Handler] = {"GET": providers.find, "PUT": providers.put, "DELETE": providers.remove}
        routes += [
            Route(f"/admin/{plural}", Endpoint(services.public_url, {"GET": providers.list_all})),
            Route(f"/admin/{plural}/{{name}}", Endpoint(services.public_url, one, noun="provider")),
        ]
    return routes


def _assistant_routes(services: AdminServices) -> list[Route]:
    """The name of an assistant may hold slashes, as those of models do."""
    assistants = Assistants(services.assistant_edits)
    one: dict[str, Handler] = {"GET": assistants.find, "PUT": assistants.put, "DELETE": assistants.remove}
    return [
        Route("/admin/assistants", Endpoint(services.public_url, {"GET": assistants.list_all})),
        Route("/admin/assistants/{name:path}", Endpoint(services.public_url, one, noun="assistant")),
    ]


def platform_routes(services: AdminServices) -> list[Route]:
    """What is about the whole process."""
    return [Route("/metrics", Endpoint(services.public_url, {"GET": MetricsPage(services.metrics).handle}))]
