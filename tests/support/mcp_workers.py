"""Several workers of one gateway around /mcp: real relays and Redis between them, only the HTTP server left out."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits
from gateway_proxy.router.announcements import Announcements
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.sessions.opening import open_crossing
from gateway_proxy.sessions.redis_store import RedisSessionStore
from gateway_proxy.storage.redis.client import open_redis
from tests.support.asgi import AsgiClient, Conversation
from tests.support.clock import FakeClock
from tests.support.relay_rooms import Relay, make_context, open_relay
from tests.unit.mcp_endpoint.conftest import McpClient, ModernClient, request

KEYRING = Keyring(("a secret key of the tests",))
CONFIG = EndpointConfig(public_url="http://127.0.0.1", limits=EndpointLimits(attend_after=0.05, tick=0.05))


@dataclass
class McpWorker:
    """One worker: its endpoint, its relay, and what has to be closed to kill it."""

    endpoint: McpEndpoint
    relay: Relay
    stack: AsyncExitStack

    def client(self, ctx: TenantContext | None = None, session_id: str | None = None) -> McpClient:
        """A legacy client of this worker."""
        headers = {} if session_id is None else {"mcp-session-id": session_id}
        return McpClient(AsgiClient(self.endpoint, {"tenant_context": ctx or make_context()}), headers)

    def modern(self, ctx: TenantContext | None = None) -> ModernClient:
        """A client of 2026-07-28."""
        return ModernClient(self.client(ctx))

    async def open_session(
        self, capabilities: Any = None, ctx: TenantContext | None = None, version: str = "2025-11-25"
    ) -> str:
        """Initialize; the session's id."""
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": {"name": "t"}}
        return (await self.client(ctx).call("initialize", params)).headers["mcp-session-id"]


@asynccontextmanager
async def open_workers(
    redis_url: str,
    backends: Sequence[Backend],
    clock: FakeClock,
    *,
    count: int = 2,
    runner: str | None = None,
    runner_key: str = "runner-key",
    config: EndpointConfig = CONFIG,
) -> AsyncIterator[list[McpWorker]]:
    """Workers that share nothing but Redis, the runner and the backends."""
    redis = open_redis(redis_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        workers = []
        for _ in range(count):
            own = await stack.enter_async_context(AsyncExitStack())
            store = await own.enter_async_context(RedisSessionStore(redis, clock))
            crossing = await own.enter_async_context(open_crossing(redis, clock))
            relay = await own.enter_async_context(
                open_relay(backends, clock=clock, records=store, runner=runner, runner_key=runner_key)
            )
            endpoint = McpEndpoint(
                relay.catalog,
                relay.calls,
                relay.requests,
                store,
                clock,
                config,
                crossing=crossing,
                sealer=KEYRING,
                announcer=Announcements(relay.catalog, relay.upstreams),
            )
            own.push_async_callback(endpoint.close)
            workers.append(McpWorker(endpoint, relay, own))
        yield workers


@dataclass
class Call:
    """A call of a client that answers what it is asked, each time through the next worker."""

    clients: Sequence[McpClient]
    answer: Any
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, name: str, arguments: Any, *, request_id: Any = 1, token: Any = None) -> list[dict[str, Any]]:
        """Everything that came for the call, in order."""
        params: dict[str, Any] = {"name": name, "arguments": arguments}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        conversation = self.clients[0].begin(request("tools/call", params, request_id=request_id))
        events: list[dict[str, Any]] = []
        while not conversation.task.done() or not conversation.outbox.empty():
            body = (await conversation.next()).get("body", b"")
            for event in events_in(body):
                events.append(event)
                if "method" in event and "id" in event:
                    self.asked.append(event)
                    await self._reply(event)
            if events and "method" not in events[-1]:
                break
        async with asyncio.timeout(5):
            await conversation.task
        return events

    async def _reply(self, question: dict[str, Any]) -> None:
        client = self.clients[len(self.asked) % len(self.clients)]
        reply = await client.post({"jsonrpc": "2.0", "id": question["id"], "result": self.answer(question)})
        assert reply.status == 202


def events_in(body: bytes) -> list[dict[str, Any]]:
    """The messages in a piece of an answer, be it JSON or events."""
    if body.startswith(b"{"):
        return [json.loads(body)]
    blocks = body.decode().split("\n\n")
    data = ["\n".join(line[6:] for line in block.split("\n") if line.startswith("data: ")) for block in blocks]
    return [json.loads(each) for each in data if each]


async def read_event(conversation: Conversation, method: str) -> dict[str, Any]:
    """Read on until a message with this method has come."""
    while True:
        for event in events_in((await conversation.next()).get("body", b"")):
            if event.get("method") == method:
                return event
