"""The surface /mcp over real HTTP with the official Python client, in both of its modes; the router is told what to do.

The whole gateway with real backends is in test_python_client.py; here the client is the oracle for the wire alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import anyio
import httpx2
import mcp_types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.router.messages import Failure, Notification, Result
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.clock import FakeClock
from tests.support.fake_router import FakeCatalog, FakeRequests, FakeToolCalls
from tests.support.mcp_backends import serve
from tests.unit.mcp_endpoint.conftest import ECHO, JSON_AND_SSE, context, request

Mode = Literal["legacy", "auto", "2026-07-28"]


class ListedCatalog(FakeCatalog):
    """One valid tool, for a client that validates."""

    async def list_kind(self, ctx: Any, caller: Any, kind: Any, *, cursor: str | None = None) -> Any:
        page = await super().list_kind(ctx, caller, kind, cursor=cursor)
        page.raw = b'[{"name":"echo","inputSchema":{"type":"object"}}]' if cursor is None else b"[]"
        return page


class AsAnn:
    """In place of the middleware: every request is Ann's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["tenant_context"] = context()
        await self._app(scope, receive, send)


@pytest.fixture
def calls() -> FakeToolCalls:
    """`echo`, `slow` (never ends by itself), and `steps`, which reports progress under the client's own token."""
    calls = FakeToolCalls(scripts={"echo": [ECHO], "fails": [Failure(-32602, "bad", b'{"why":1}')]})

    async def never() -> None:
        await asyncio.Event().wait()

    calls.scripts["slow"] = [never]
    return calls


@pytest.fixture
async def url(calls: FakeToolCalls, clock: FakeClock) -> AsyncIterator[str]:
    """The endpoint's address."""
    config = EndpointConfig(public_url="http://127.0.0.1")
    endpoint = McpEndpoint(ListedCatalog(), calls, FakeRequests(), MemorySessionStore(clock), clock, config)
    async with serve(AsAnn(endpoint)) as base:
        yield f"{base}/mcp"


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_the_official_client_lists_and_calls_in_every_mode(url: str, calls: FakeToolCalls, mode: Mode) -> None:
    """issue 2, Done when: the Python SDK client, modern and legacy, without a special case."""
    async with Client(streamable_http_client(url), mode=mode) as client:
        expected = "2025-11-25" if mode == "legacy" else "2026-07-28"
        assert client.protocol_version == expected
        tools = await client.list_tools()
        assert [tool.name for tool in tools.tools] == ["echo"]
        assert tools.next_cursor == 'two"'
        result = await client.call_tool("echo", {"a": 1})
        assert isinstance(result, mcp_types.CallToolResult)
        assert result.content == [mcp_types.TextContent(type="text", text="hi")]
    assert calls.calls[0].arguments == {"a": 1}
    assert calls.calls[0].caller.modern is (mode != "legacy")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_official_client_hears_of_progress(url: str, calls: FakeToolCalls, mode: Mode) -> None:
    """MCP, Progress: notifications arrive on the stream of their call, before its result."""
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    original = calls.call

    async def with_progress(ctx: Any, caller: Any, *, name: str, params: bytes) -> Any:
        token = json.dumps(json.loads(params)["_meta"]["progressToken"]).encode()
        for n in (1, 2):
            yield Notification(
                b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%b,"progress":%d}}'
                % (token, n)
            )
        yield Result(b'{"content":[]}')

    calls.call = with_progress  # type: ignore[method-assign]  # the script needs the client's token
    async with Client(streamable_http_client(url), mode=mode) as client:
        await client.call_tool("steps", {}, progress_callback=on_progress)
    calls.call = original  # type: ignore[method-assign]
    assert heard == [1, 2]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_official_client_gets_errors_as_errors(url: str, mode: Mode) -> None:
    """Error codes and data survive both legs."""
    async with Client(streamable_http_client(url), mode=mode) as client:
        with pytest.raises(MCPError) as failed:
            await client.call_tool("fails", {})
        assert (failed.value.code, failed.value.error.data) == (-32602, {"why": 1})


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_call_that_the_official_client_gives_up_is_cancelled_upstream(
    url: str, calls: FakeToolCalls, mode: Mode
) -> None:
    """MCP, Cancellation: `notifications/cancelled` in one era, the closed stream in the other."""
    try:
        async with Client(streamable_http_client(url), mode=mode) as client:
            task = asyncio.create_task(client.call_tool("slow", {}))
            await calls.started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(10):
                while not calls.closed:  # the other side of a socket
                    await asyncio.sleep(0.01)
    except* anyio.BrokenResourceError:
        pass  # the client's own: an answer reached it while it closed
    assert calls.closed == ["slow"]


async def test_an_interrupted_connection_cancels_upstream(url: str, calls: FakeToolCalls) -> None:
    """relay.md 8, over a real socket."""
    headers = {"accept": JSON_AND_SSE, "content-type": "application/json"}
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.TimeoutException):
            await http.post(url, json=request("tools/call", {"name": "slow"}), headers=headers, timeout=0.5)
    async with asyncio.timeout(10):
        while not calls.closed:  # the other side of a socket
            await asyncio.sleep(0.01)


async def test_two_hundred_and_fifty_six_calls_at_once_mix_nothing_up(url: str, calls: FakeToolCalls) -> None:
    """performance.md: 256 concurrent calls, JSON and SSE mixed, 0 errors."""
    calls.scripts["stream"] = [Notification(b'{"jsonrpc":"2.0","method":"notifications/message"}'), ECHO]
    headers = {"accept": JSON_AND_SSE, "content-type": "application/json"}
    limits = httpx2.Limits(max_connections=64)
    async with httpx2.AsyncClient(limits=limits, timeout=60) as http:

        async def call(n: int) -> int:
            message = request("tools/call", {"name": "stream" if n % 2 else "echo"}, request_id=n)
            reply = await http.post(url, json=message, headers=headers)
            body = reply.text.rpartition("data: ")[2] if n % 2 else reply.text
            answered: int = json.loads(body)["id"]
            return answered

        assert await asyncio.gather(*map(call, range(256))) == list(range(256))
