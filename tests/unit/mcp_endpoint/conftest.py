"""An endpoint with a scripted router, and clients of both eras."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.tenant import Role, Tenant, TenantContext
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits, ServerIdentity
from gateway_proxy.router.messages import Notification, Result
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.opening import Crossing
from tests.support.asgi import AsgiClient, Conversation, Reply
from tests.support.clock import FakeClock
from tests.support.fake_router import FakeCatalog, FakeRequests, FakeToolCalls

JSON_AND_SSE = "application/json, text/event-stream"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
ECHO = Result(b'{"content":[{"type":"text","text":"hi"}],"x-vendor":{"kept":1.50}}')
PROGRESS = Notification(
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}'
)


def context(
    tenant: str = "acme", user: str = "ann", client: str | None = "claude", token: bytes = b"t" * 32
) -> TenantContext:
    """A caller, as the middleware in front would have found it."""
    principal = Principal(
        token_id="t",
        token_digest=token,
        kind=TokenKind.ACCESS,
        tenant_id=tenant,
        user_id=user,
        role=Role.MEMBER,
        client_id=client,
        scopes=frozenset({"mcp"}),
        audience="https://gw.example/mcp",
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )
    return TenantContext(Tenant(id=tenant, slug=tenant, name=tenant.title()), principal)


@dataclass
class McpClient:
    """Speaks to the endpoint as one caller; `headers` are added to every request."""

    asgi: AsgiClient
    headers: dict[str, str] = field(default_factory=dict)

    def begin(self, message: Any, **headers: str) -> Conversation:
        """Post a message and do not wait."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.asgi.begin("POST", body, self._with(headers))

    async def post(self, message: Any, **headers: str) -> Reply:
        """Post a message; `None` as a header's value leaves it out."""
        return await self.begin(message, **headers).reply()

    async def call(self, method: str, params: Any = None, *, request_id: Any = 1, **headers: str) -> Reply:
        """Post a request."""
        return await self.post(request(method, params, request_id=request_id), **headers)

    async def send(self, http_method: str, **headers: str) -> Reply:
        """A request without a body."""
        return await self.asgi.send(http_method, b"", self._with(headers))

    def open(self, http_method: str, **headers: str) -> Conversation:
        """The same, without waiting."""
        return self.asgi.begin(http_method, b"", self._with(headers))

    def _with(self, headers: dict[str, str]) -> list[tuple[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {"content-type": "application/json", "accept": JSON_AND_SSE, **self.headers, **named}
        return [(name, value) for name, value in merged.items() if value is not None]


def request(method: str, params: Any = None, *, request_id: Any = 1) -> dict[str, Any]:
    """A JSON-RPC request."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else {**message, "params": params}


@dataclass
class ModernClient:
    """Speaks 2026-07-28."""

    legacy: McpClient

    def begin(self, method: str, params: Any = None, *, request_id: Any = 1, **headers: str) -> Conversation:
        """Post a request with its `_meta` and headers, and do not wait."""
        given = {"_meta": META, **(params or {})}
        named = {"mcp_protocol_version": "2026-07-28", "mcp_method": method}
        name = given.get("name") or given.get("uri")
        if isinstance(name, str) and name.isascii():
            named["mcp_name"] = name
        return self.legacy.begin(request(method, given, request_id=request_id), **{**named, **headers})

    async def call(self, method: str, params: Any = None, *, request_id: Any = 1, **headers: str) -> Reply:
        """The same, to the end."""
        return await self.begin(method, params, request_id=request_id, **headers).reply()


@pytest.fixture
def limits() -> EndpointLimits:
    """Patience in hundredths of a second, so that no test waits for a heartbeat."""
    return EndpointLimits(
        attend_after=0.01, tick=0.01, silence=0.0, heartbeat=0.0, body_seconds=0.05, streams_per_user=2
    )


@pytest.fixture
def catalog() -> FakeCatalog:
    """The list."""
    return FakeCatalog()


@pytest.fixture
def calls() -> FakeToolCalls:
    """Tools: `echo` answers at once, `progress` notifies first."""
    return FakeToolCalls(scripts={"echo": [ECHO], "progress": [PROGRESS, ECHO]})


@pytest.fixture
def requests() -> FakeRequests:
    """The other methods."""
    return FakeRequests()


@pytest.fixture
def sessions(clock: FakeClock) -> MemorySessionStore:
    """The session store of one process."""
    return MemorySessionStore(clock)


@pytest.fixture
def config(limits: EndpointLimits) -> EndpointConfig:
    """The gateway at https://gw.example."""
    return EndpointConfig(
        public_url="https://gw.example",
        allowed_origins=("https://app.example",),
        server=ServerIdentity(version="9.9"),
        limits=limits,
    )


@pytest.fixture
def welcome() -> dict[str, bool]:
    """Whether tokens behind open streams are still good."""
    return {"value": True}


@pytest.fixture
def endpoint(
    catalog: FakeCatalog,
    calls: FakeToolCalls,
    requests: FakeRequests,
    sessions: MemorySessionStore,
    clock: FakeClock,
    config: EndpointConfig,
    welcome: dict[str, bool],
) -> McpEndpoint:
    """The surface under test."""

    async def is_still_welcome(_: Any) -> bool:
        return welcome["value"]

    return McpEndpoint(catalog, calls, requests, sessions, clock, config, is_still_welcome=is_still_welcome)


def make_endpoint(
    calls: FakeToolCalls, sessions: MemorySessionStore, clock: FakeClock, config: EndpointConfig, crossing: Crossing
) -> McpEndpoint:
    """A worker of several."""
    return McpEndpoint(FakeCatalog(), calls, FakeRequests(), sessions, clock, config, crossing=crossing)


Connect = Callable[..., McpClient]


@pytest.fixture
def connect(endpoint: McpEndpoint) -> Connect:
    """Clients by caller."""

    def make(ctx: TenantContext | None = None, **headers: str) -> McpClient:
        state = {"tenant_context": ctx or context()}
        return McpClient(AsgiClient(endpoint, state), {name.replace("_", "-"): v for name, v in headers.items()})

    return make


@pytest.fixture
def client(connect: Connect) -> McpClient:
    """A legacy client without a session."""
    return connect()


@pytest.fixture
async def in_session(client: McpClient) -> McpClient:
    """The same caller with a session."""
    reply = await client.call("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    return replace(client, headers={**client.headers, "mcp-session-id": reply.headers["mcp-session-id"]})


@pytest.fixture
def modern(client: McpClient) -> ModernClient:
    """A client of 2026-07-28."""
    return ModernClient(client)
