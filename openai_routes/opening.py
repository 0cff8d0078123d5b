"""Opens what this surface needs beyond the shared services, and closes it. For the composition root only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway_proxy.domain.clock import Clock
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.telemetry.audit import AuditTrail
from openai_routes.assistants import ListAssistants, ListProviders, StoredModels
from openai_routes.kept_turns import MemoryTurns, RedisTurns
from openai_routes.own_tools import ToolCallsToEnd
from openai_routes.providers.transport import ProviderConnections
from openai_routes.routes import OpenAIDeps
from openai_routes.tool_bridge import ToolLists


@asynccontextmanager
async def open_openai_deps(
    *,
    database: Database,
    list_assistants: ListAssistants,
    list_providers: ListProviders,
    catalog: ToolLists,
    calls: ToolCallsToEnd,
    guard: EgressGuard,
    audit: AuditTrail,
    redis: Redis | None,
    clock: Clock,
) -> AsyncIterator[OpenAIDeps]:
    """The dependencies of `openai_routes.routes`, with connections to providers that are closed at the end.

    `list_assistants` and `list_providers` are storage functions `(session, *, tenant_id)`; the latter with its keyring
    already bound.
    """
    connections = ProviderConnections(guard, clock)
    try:
        yield OpenAIDeps(
            StoredModels(database, clock, list_assistants=list_assistants, list_providers=list_providers),
            catalog,
            calls,
            MemoryTurns(clock) if redis is None else RedisTurns(redis, clock),
            connections,
            audit,
            clock,
        )
    finally:
        await connections.close()
