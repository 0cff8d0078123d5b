"""The routes of /v1, in one list. `app` puts scope, tenancy and CORS around them; nothing is decided here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.routing import Route

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.provider import Provider
from gateway_proxy.telemetry.audit import AuditTrail
from gateway_proxy.telemetry.metrics import Metrics
from openai_routes.assistants import ModelDirectory
from openai_routes.chat_completions import ChatCompletions
from openai_routes.chat_run import ChatRuns
from openai_routes.default_model import OfferedModels
from openai_routes.endpoint import Endpoint, Handler, Inbound, IsStillWelcome
from openai_routes.errors import MethodNotAllowed
from openai_routes.kept_turns import KeptTurns
from openai_routes.models import Models
from openai_routes.own_tools import ToolCallsToEnd
from openai_routes.passthrough import PassThrough
from openai_routes.preparation import Preparation
from openai_routes.providers.kinds import provider_api, provider_line
from openai_routes.providers.transport import ProviderConnections, ProviderLine
from openai_routes.responses import Responses
from openai_routes.stream import Answer, ByteStream, EventStream
from openai_routes.tool_bridge import ToolBridge, ToolLists
from openai_routes.tool_servers import ServerLists, ToolServers
from openai_routes.turn import ProviderApi
from openai_routes.usage_record import ChatRecorder


class Catalog(ToolLists, ServerLists, Protocol):
    """What is needed of `router.catalog.Catalog`."""


@dataclass(frozen=True, slots=True)
class OpenAIDeps:
    """What this surface is built from. `catalog` and `calls` are the router's.

    `is_still_welcome` says of a request under way whether its token is still good; answers end when it is not.
    """

    directory: ModelDirectory
    catalog: Catalog
    calls: ToolCallsToEnd
    turns: KeptTurns
    connections: ProviderConnections
    audit: AuditTrail
    metrics: Metrics
    clock: Clock
    is_still_welcome: IsStillWelcome | None = None


def openai_routes(deps: OpenAIDeps) -> list[Route]:
    """Every route below /v1, to be mounted behind scope `openai`; the last one answers what no other does."""

    def api_of(provider: Provider) -> ProviderApi:
        return provider_api(provider, deps.connections)

    def line_to(provider: Provider) -> ProviderLine:
        return provider_line(provider, deps.connections)

    bridge = ToolBridge(deps.catalog)
    offered = OfferedModels(deps.connections, deps.clock)
    preparation = Preparation(ToolServers(deps.catalog), bridge, deps.calls, deps.turns, api_of, offered)
    recorder = ChatRecorder(deps.audit, deps.metrics, deps.clock)
    models = Models(deps.directory, int(deps.clock.now().timestamp()))
    runs = ChatRuns(deps.directory, bridge, preparation, recorder, deps.clock)
    chat = ChatCompletions(runs, deps.clock)
    passed_on = PassThrough(deps.directory, line_to)
    welcome = deps.is_still_welcome
    responses = Responses(runs, deps.turns, deps.clock)
    paths: Mapping[str, Mapping[str, Handler]] = {
        "/v1/models": {"GET": models.list_models},
        "/v1/models/{model_id:path}": {"GET": models.get_model},
        "/v1/chat/completions": {"POST": chat.handle},
        "/v1/responses": {"POST": responses.handle},
        "/v1/responses/{response_id}": {"GET": responses.get_response, "DELETE": responses.get_response},
    }

    async def other(inbound: Inbound) -> Answer | EventStream | ByteStream:
        """A slash at the end must not carry a chat past tools, limits and record to the provider."""
        handlers = paths.get(inbound.path.rstrip("/"))
        if handlers is None:
            return await passed_on.handle(inbound)
        if inbound.method not in handlers:
            raise MethodNotAllowed(inbound.method, tuple(sorted(handlers)))
        return await handlers[inbound.method](inbound)

    return [
        *(Route(path, Endpoint(handlers, is_still_welcome=welcome)) for path, handlers in paths.items()),
        Route("/v1/{path:path}", Endpoint(fallback=other, is_still_welcome=welcome)),
    ]
