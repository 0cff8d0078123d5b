"""The HTTP+SSE transport by itself; with a real client it is in tests/flows/test_http_sse_transport.py."""

import pytest

from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.mcp_endpoint.http_sse import HttpSse
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.asgi import AsgiClient
from tests.support.clock import FakeClock
from tests.unit.mcp_endpoint.conftest import context


async def test_a_probe_by_head_ends_and_opens_nothing(
    endpoint: McpEndpoint, sessions: MemorySessionStore, clock: FakeClock
) -> None:
    """RFC 9110 §9.3.2: the connection is free for the next request; no stream, no session is left behind."""
    transport = HttpSse(endpoint, sessions, MemoryEventLog(clock), EndpointConfig("https://gw.example"))
    reply = await AsgiClient(transport.stream, {"tenant_context": context()}).send("HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"] == "text/event-stream"
    assert not sessions._sessions


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_foreign_page_opens_no_stream_and_sends_nothing(
    endpoint: McpEndpoint, sessions: MemorySessionStore, clock: FakeClock, method: str
) -> None:
    """MCP 2024-11-05, Transports, Security Warning: servers must validate the Origin header."""
    transport = HttpSse(endpoint, sessions, MemoryEventLog(clock), EndpointConfig("https://gw.example"))
    application = transport.message if method == "POST" else transport.stream
    client = AsgiClient(application, {"tenant_context": context()})
    reply = await client.send(method, headers=[("origin", "https://evil.example")])
    assert (reply.status, reply.json["error"]["code"]) == (403, -32600)
    assert not sessions._sessions
