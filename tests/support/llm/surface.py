"""The /v1 surface with everything beyond its seams replaced by stand-ins: tenant, directory, catalog."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.clock import Clock, SystemClock
from gateway_proxy.domain.errors import ToolUnknown
from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Role, Tenant, TenantContext
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import Failure, Result
from gateway_proxy.router.unlisted import Unlisted
from gateway_proxy.router.view import ListPage
from gateway_proxy.telemetry.audit import AuditTrail
from gateway_proxy.telemetry.metrics import Metrics
from openai_routes.assistants import TenantModels
from openai_routes.kept_turns import KeptTurns, MemoryTurns
from openai_routes.providers.transport import ProviderConnections
from openai_routes.routes import Catalog, OpenAIDeps, openai_routes


def make_context(tenant_id: str = "t1", user_id: str = "u1", name: str = "Acme") -> TenantContext:
    """A verified caller in a tenant."""
    principal = Principal(
        token_id="k1",
        token_digest=b"d" * 32,
        kind=TokenKind.PERSONAL,
        tenant_id=tenant_id,
        user_id=user_id,
        role=Role.MEMBER,
        client_id=None,
        scopes=frozenset({"openai"}),
        audience="http://127.0.0.1:8000",
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    return TenantContext(Tenant(tenant_id, "acme", name), principal)


@dataclass
class FixedModels:
    """A directory with fixed contents, by tenant id."""

    assistants: Mapping[str, Sequence[Assistant]] = field(default_factory=dict)
    providers: Mapping[str, Sequence[Provider]] = field(default_factory=dict)

    async def find_models(self, tenant_id: str) -> TenantModels:
        """What the test put there."""
        return TenantModels(
            {a.name: a for a in self.assistants.get(tenant_id, ())},
            {p.name: p for p in self.providers.get(tenant_id, ())},
        )


@dataclass
class FixedTools:
    """A catalog with fixed tools by tenant id, in pages of `page_size`; `unlisted` are servers of every tenant."""

    tools: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    page_size: int = 100
    unlisted: Sequence[Unlisted] = ()

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ListPage:
        """A page of the tools of the caller's tenant."""
        listed = [
            msgspec.json.encode(tool)
            for tool in self.tools.get(ctx.tenant.id, ())
            if servers is None or str(tool["name"]).partition("__")[0] in servers
        ]
        start = int(cursor or 0)
        end = start + self.page_size
        page = tuple(listed[start:end])
        return ListPage(page, b"[" + b",".join(page) + b"]", str(end) if end < len(listed) else None)

    async def find_unlisted(self, ctx: TenantContext, servers: Collection[str] | None) -> tuple[Unlisted, ...]:
        """Those of `unlisted` that are asked for."""
        return tuple(server for server in self.unlisted if servers is None or server.name in servers)


OnProgress = Callable[[bytes], Awaitable[None]]
Tool = Callable[[dict[str, Any], OnProgress], Awaitable[Result | Failure]]


@dataclass
class FixedCalls:
    """Tools that are functions of the test, by catalog name; `made` is what was called, with which arguments."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def call_to_end(
        self,
        ctx: TenantContext,
        caller: Caller,
        *,
        name: str,
        arguments: bytes,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Result | Failure:
        """Run the function."""
        given = msgspec.json.decode(arguments)
        self.made.append((name, given))
        if name not in self.tools:
            raise ToolUnknown(name)
        return await self.tools[name](given, on_progress or _ignore)


def text_result(text: str, **more: object) -> Result:
    """The raw result of a tool that says `text`."""
    return Result(msgspec.json.encode({"content": [{"type": "text", "text": text}], **more}))


async def _ignore(raw: bytes) -> None:
    """Nobody asked for progress."""


async def write_nothing(events: Sequence[AuditEvent]) -> None:
    """An audit trail's writer for tests that look at nothing there."""


@dataclass
class TenantHeader:
    """Stands in for authentication: the header `x-test-tenant` and `x-test-user` say who calls."""

    app: ASGIApp

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Put the context where `tenancy.middleware` would."""
        headers = dict(scope["headers"])
        tenant = headers.get(b"x-test-tenant", b"t1").decode()
        user = headers.get(b"x-test-user", b"u1").decode()
        scope.setdefault("state", {})["tenant_context"] = make_context(tenant, user)
        await self.app(scope, receive, send)


@asynccontextmanager
async def surface(
    models: FixedModels,
    tools: Catalog | None = None,
    calls: FixedCalls | None = None,
    *,
    turns: KeptTurns | None = None,
    audit: AuditTrail | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[ASGIApp, None]:
    """The routes of /v1 as an app, with real connections to providers."""
    clock = clock or SystemClock()
    connections = ProviderConnections(EgressGuard(), clock)
    deps = OpenAIDeps(
        models,
        tools or FixedTools(),
        calls or FixedCalls(),
        turns or MemoryTurns(clock),
        connections,
        audit or AuditTrail(write_nothing, clock),
        Metrics(),
        clock,
    )
    try:
        yield TenantHeader(Starlette(routes=openai_routes(deps)))
    finally:
        await connections.close()
