"""The relay put together for tests: directory, upstreams, catalog and calls, with everything real but the backends."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.opening import UpstreamRecords
from gateway_proxy.backends.runner_http import RunnerHttp
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.tenant import Naming, Role, Tenant, TenantContext
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.http1_pool import open_unix_http
from gateway_proxy.router.call import ToolCalls
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.router.list_memory import ListMemory
from gateway_proxy.router.policy import Policy
from gateway_proxy.router.relay import Requests
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.clock import FakeClock

LEGACY = Caller("s1", "2025-11-25", b'{"name":"client","version":"1"}', b"{}", modern=False)
RELAYING = structs.replace(
    LEGACY, capabilities_json=b'{"elicitation":{},"roots":{"listChanged":true}}', relays_server_requests=True
)
MODERN = Caller(None, "2026-07-28", b'{"name":"client","version":"1"}', b"{}", modern=True)


def make_context(tenant_id: str = "t1", user_id: str = "u1", naming: Naming | None = None) -> TenantContext:
    """A verified caller in a tenant."""
    principal = Principal(
        token_id="k1",
        token_digest=b"d" * 32,
        kind=TokenKind.ACCESS,
        tenant_id=tenant_id,
        user_id=user_id,
        role=Role.MEMBER,
        client_id="c1",
        scopes=frozenset({"mcp"}),
        audience="http://127.0.0.1:8000/mcp",
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    return TenantContext(Tenant(tenant_id, tenant_id, "Acme", naming or Naming()), principal)


def http_backend(url: str, name: str = "calc", **more: Any) -> Backend:
    """A streamable HTTP backend that an operator wrote."""
    fields: dict[str, Any] = {
        "id": f"id-{name}",
        "tenant_id": "t1",
        "name": name,
        "transport": Transport.STREAMABLE_HTTP,
        "origin": "operator",
        "revision": 1,
        "url": url if url.endswith("/sse") else f"{url}/mcp",
    }
    return Backend(**{**fields, **more})


def stdio_backend(name: str = "local", **more: Any) -> Backend:
    """A stdio backend."""
    fields: dict[str, Any] = {
        "id": f"id-{name}",
        "tenant_id": "t1",
        "name": name,
        "transport": Transport.STDIO,
        "origin": "operator",
        "revision": 1,
        "command": "python",
        "args": ("server.py",),
        "env": {"A": "b"},
    }
    return Backend(**{**fields, **more})


@dataclass
class Recorder:
    """Takes what calls record."""

    events: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)

    def record(self, event: str, *, tenant_id: str | None = None, user_id: str | None = None, **detail: Any) -> None:
        self.events.append({"event": event, "tenant_id": tenant_id, "user_id": user_id, **detail})

    def tool_called(self, surface: str, outcome: str, seconds: float) -> None:
        self.outcomes.append((surface, outcome))

    def request_relayed(self, method: str, outcome: str) -> None:
        self.outcomes.append((method, outcome))


@dataclass
class Relay:
    """One worker's relay. `backends` may be replaced while it runs."""

    backends: list[Backend]
    clock: FakeClock
    records: UpstreamRecords
    upstreams: Upstreams
    catalog: Catalog
    calls: ToolCalls
    requests: Requests
    recorder: Recorder

    async def names(self, ctx: TenantContext | None = None) -> list[str]:
        """The listed names."""
        servers = await self.catalog.list_servers(ctx or make_context())
        return sorted(name for names in servers.values() for name in names)


@asynccontextmanager
async def open_relay(
    backends: Sequence[Backend],
    *,
    clock: FakeClock | None = None,
    records: UpstreamRecords | None = None,
    runner: str | None = None,
    runner_key: str = "runner-key",
    guard: EgressGuard | None = None,
    memory: ListMemory | None = None,
) -> AsyncIterator[Relay]:
    """A worker's relay over these backends; `runner` is the path of a runner's socket."""
    clock = clock or FakeClock()
    held = list(backends)

    async def load(tenant_id: str) -> Sequence[Backend]:
        return [backend for backend in held if backend.tenant_id == tenant_id]

    records = records or MemorySessionStore(clock)
    runner_http = RunnerHttp(open_unix_http(runner), key=runner_key) if runner else None
    upstreams = Upstreams(Endpoints(guard or EgressGuard(), runner_http, clock), records, clock)
    directory = BackendDirectory(load, clock)
    catalog = Catalog(directory, upstreams, clock, memory)
    recorder = Recorder()
    policy = Policy()
    calls = ToolCalls(catalog, upstreams, policy=policy, audit=recorder, metrics=recorder, clock=clock)
    requests = Requests(catalog, upstreams, policy=policy, audit=recorder, metrics=recorder, clock=clock)
    try:
        yield Relay(held, clock, records, upstreams, catalog, calls, requests, recorder)
    finally:
        await catalog.close()
        await directory.close()
        await upstreams.close()
