"""PROTECTED: the surfaces that are reached with a bearer token only, each behind its door."""

from functools import partial
from typing import Final

from sqlalchemy.orm import Session
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.admin_api.routes import AdminServices, platform_routes, tenant_routes
from gateway_proxy.app.doors import Door
from gateway_proxy.auth.error_bodies import admin_body, json_rpc_body
from gateway_proxy.auth.middleware import Verifier, address_of
from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.errors import AuthError, RateLimited
from gateway_proxy.domain.principal import Scope
from gateway_proxy.domain.provider import Provider
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits, IsStillWelcome, ServerIdentity
from gateway_proxy.mcp_endpoint.http_sse import HttpSse
from gateway_proxy.provisioning.assistant_edits import AssistantEdits
from gateway_proxy.provisioning.backend_edits import BackendEdits
from gateway_proxy.provisioning.current_state import StoredConfiguration
from gateway_proxy.provisioning.editing import EditMeans
from gateway_proxy.provisioning.provider_edits import ProviderEdits
from gateway_proxy.router.edit_news import Copies
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.services import Services
from gateway_proxy.storage.sql.assistants import list_assistants
from gateway_proxy.storage.sql.providers import list_providers
from openai_routes.assistants import StoredModels
from openai_routes.errors import auth_error_body
from openai_routes.kept_turns import MemoryTurns, RedisTurns
from openai_routes.providers.transport import ProviderConnections
from openai_routes.routes import OpenAIDeps, openai_routes

VERSION: Final = "0.1.0"
OPENAI_KEY_HEADERS: Final = (b"x-api-key", b"api-key")


def openai_surface(services: Services, connections: ProviderConnections) -> list[Route]:
    """PROTECTED by scope `openai`: /v1."""
    core, redis = services.core, services.redis
    door = Door(
        Scope.OPENAI,
        auth_error_body,
        f"{core.settings.public_url}/.well-known/oauth-protected-resource/v1",
        OPENAI_KEY_HEADERS,
        takes_outside_keys=True,
    )
    models = StoredModels(core.database, core.clock, list_models=partial(_list_models, keyring=core.keyring))
    services.relay.edit_news.add_copies(Copies(models.forget, models.forget_all))
    deps = OpenAIDeps(
        directory=models,
        catalog=services.relay.catalog,
        calls=services.relay.tool_calls,
        turns=MemoryTurns(core.clock) if redis is None else RedisTurns(redis, core.clock),
        connections=connections,
        audit=services.audit,
        metrics=services.metrics,
        clock=core.clock,
        is_still_welcome=token_check(door.verifier(services), Scope.OPENAI, OPENAI_KEY_HEADERS),
    )
    return [door.guarded(route, services) for route in openai_routes(deps)]


def _list_models(session: Session, *, tenant_id: str, keyring: Keyring) -> tuple[list[Assistant], list[Provider]]:
    """What /v1 offers, in one transaction."""
    assistants = list_assistants(session, tenant_id=tenant_id)
    return assistants, list_providers(session, tenant_id=tenant_id, keyring=keyring)


def token_check(verifier: Verifier, wanted: Scope, alternates: tuple[bytes, ...] = ()) -> IsStillWelcome:
    """Whether the token of a request that is under way would still open its door (security RS2)."""

    async def is_still_welcome(scope: Connection) -> bool:
        try:
            verified = await verifier.verify_request(scope["headers"], alternates=alternates, address=address_of(scope))
        except (AuthError, RateLimited):
            return False
        return wanted in verified.principal.scopes

    return is_still_welcome


def admin_surface(services: Services) -> list[Route]:
    """PROTECTED by scope `admin`, or the platform key: what operators and tenant administrators ask and change."""
    core, relay = services.core, services.relay
    means = EditMeans(core.database, core.keyring, core.clock, services.limiter, relay.edit_news.announce)
    rooms = AdminServices(
        public_url=core.settings.public_url,
        edits=BackendEdits(means, services.guard, relay.trials),
        provider_edits=ProviderEdits(means, services.guard),
        assistant_edits=AssistantEdits(means),
        configuration=StoredConfiguration(core.database, core.keyring),
        catalog=relay.catalog,
        metrics=services.metrics,
        version=VERSION,
    )
    in_tenant = Door(Scope.ADMIN, admin_body, platform_key="in a tenant")
    about_all = Door(Scope.ADMIN, admin_body, platform_key="without a tenant")
    return [
        *(in_tenant.guarded(route, services) for route in tenant_routes(rooms)),
        *(about_all.guarded(route, services) for route in platform_routes(rooms)),
    ]


def mcp_surface(services: Services) -> tuple[McpEndpoint, ASGIApp]:
    """PROTECTED by scope `mcp`: the endpoint, and the same behind its door."""
    endpoint = mcp_endpoint(services, token_check(services.verifier, Scope.MCP))
    resource_metadata = f"{services.core.settings.public_url}/.well-known/oauth-protected-resource/mcp"
    return endpoint, Door(Scope.MCP, json_rpc_body, resource_metadata).before(endpoint, services)


def http_sse_surface(services: Services, endpoint: McpEndpoint) -> tuple[HttpSse, list[Route]]:
    """PROTECTED by scope `mcp`: the deprecated transport over the same endpoint."""
    http_sse = HttpSse(endpoint, services.sessions, services.crossing.event_log, _endpoint_config(services))
    resource_metadata = f"{services.core.settings.public_url}/.well-known/oauth-protected-resource/sse"
    door = Door(Scope.MCP, json_rpc_body, resource_metadata)
    stream, message = door.before(http_sse.stream, services), door.before(http_sse.message, services)
    return http_sse, [
        Route("/sse", AsgiRoute(stream), methods=["GET"]),
        Route("/messages/", AsgiRoute(message), methods=["POST"]),
    ]


class AsgiRoute:
    """A bare ASGI application as a route's endpoint: Starlette wraps functions, and leaves objects alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def mcp_endpoint(services: Services, is_still_welcome: IsStillWelcome | None = None) -> McpEndpoint:
    """The endpoint behind every MCP transport. Without a check of tokens it is for the local operator only."""
    return McpEndpoint(
        services.relay.catalog,
        services.relay.tool_calls,
        services.relay.requests,
        services.sessions,
        services.core.clock,
        _endpoint_config(services),
        is_still_welcome=is_still_welcome,
        crossing=services.crossing,
        sealer=services.core.keyring,
        announcer=services.relay.announcements,
    )


def _endpoint_config(services: Services) -> EndpointConfig:
    settings = services.core.settings
    return EndpointConfig(
        settings.public_url,
        settings.cors_origins,
        ServerIdentity(name=settings.name, version=VERSION),
        EndpointLimits(stream_seconds=settings.stream_ttl),
    )
