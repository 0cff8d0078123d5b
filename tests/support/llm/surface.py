"""The /v1 surface with everything beyond its seams replaced by stand-ins: tenant, directory, catalog."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Role, Tenant, TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import ToolPage
from openai_routes.assistants import TenantModels
from openai_routes.routes import OpenAIDeps, openai_routes


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
    """A catalog with fixed tools by tenant id, in pages of `page_size`."""

    tools: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    page_size: int = 100

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ToolPage:
        """A page of the tools of the caller's tenant."""
        listed = [
            msgspec.json.encode(tool)
            for tool in self.tools.get(ctx.tenant.id, ())
            if servers is None or str(tool["name"]).partition("__")[0] in servers
        ]
        start = int(cursor or 0)
        end = start + self.page_size
        page = tuple(listed[start:end])
        return ToolPage(page, b"[" + b",".join(page) + b"]", str(end) if end < len(listed) else None)


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


def surface(deps: OpenAIDeps) -> ASGIApp:
    """The routes of /v1 as an app."""
    return TenantHeader(Starlette(routes=openai_routes(deps)))
