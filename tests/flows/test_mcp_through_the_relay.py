"""A client's message through /mcp, the real router and a real connection to a backend, and its answer back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import mcp_types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.redis_store import RedisSessionStore
from gateway_proxy.sessions.store import SessionStore
from gateway_proxy.storage.redis.client import open_redis
from tests.support.asgi import AsgiClient
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, text
from tests.support.relay_rooms import Relay, http_backend, make_context, open_relay
from tests.unit.mcp_endpoint.conftest import McpClient, ModernClient, request

CONFIG = EndpointConfig(public_url="http://127.0.0.1")


@dataclass
class Worker:
    """One worker's endpoint over one worker's relay."""

    endpoint: McpEndpoint
    relay: Relay

    def client(self, ctx: TenantContext | None = None, **headers: str) -> McpClient:
        """A legacy client of this worker."""
        state = {"tenant_context": ctx or make_context()}
        return McpClient(AsgiClient(self.endpoint, state), {n.replace("_", "-"): v for n, v in headers.items()})

    def modern(self, ctx: TenantContext | None = None) -> ModernClient:
        """A client of 2026-07-28."""
        return ModernClient(self.client(ctx))


@asynccontextmanager
async def open_worker(
    urls: dict[str, str], clock: FakeClock, sessions: SessionStore | None = None
) -> AsyncIterator[Worker]:
    """A worker whose tenant t1 has the backends at `urls`, and t2 the one called `other`."""
    store = sessions or MemorySessionStore(clock)
    backends = [http_backend(url, name, tenant_id="t2" if name == "other" else "t1") for name, url in urls.items()]
    async with open_relay(backends, clock=clock, records=store) as relay:
        yield Worker(McpEndpoint(relay.catalog, relay.calls, relay.requests, store, clock, CONFIG), relay)


@pytest.fixture
def backend() -> McpBackend:
    """The backend `calc`."""
    return demo_backend()


@pytest.fixture
async def worker(backend: McpBackend, clock: FakeClock) -> AsyncIterator[Worker]:
    """One worker with one backend per tenant."""
    async with (
        serve(backend) as url,
        serve(demo_backend()) as other,
        open_worker({"calc": url, "other": other}, clock) as worker,
    ):
        yield worker


class Enter:
    """In place of the middleware."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["tenant_context"] = make_context()
        await self._endpoint(scope, receive, send)


@pytest.mark.parametrize("modern_backend", [False, True])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_both_eras_meet_on_both_sides(
    clock: FakeClock, mode: Literal["legacy", "2026-07-28"], modern_backend: bool
) -> None:
    """relay.md 6: the official client in either mode, a backend of either era."""
    async with (
        serve(demo_backend(modern=modern_backend)) as url,
        open_worker({"calc": url}, clock) as worker,
        serve(Enter(worker.endpoint)) as gateway,
        Client(streamable_http_client(f"{gateway}/mcp"), mode=mode) as client,
    ):
        assert [tool.name for tool in (await client.list_tools()).tools] == [
            "calc__count",
            "calc__echo",
            "calc__echo_events",
        ]
        for name in ("calc__echo", "calc__echo_events", "calc.echo"):
            result = await client.call_tool(name, {"a": "é"})
            assert isinstance(result, mcp_types.CallToolResult)
            assert result.content == [mcp_types.TextContent(type="text", text=json.dumps({"a": "é"}))]


async def test_an_unknown_field_goes_through_both_ways(worker: Worker) -> None:
    """relay.md 1: what the gateway does not know it does not touch."""
    params = {"name": "calc__echo", "arguments": {"n": 1.0}, "x-vendor": {"b": 1, "a": [None]}, "_meta": {"x/y": "z"}}
    reply = await worker.client().call("tools/call", params)
    received = reply.json["result"]["structuredContent"]
    assert received["x-vendor"] == {"b": 1, "a": [None]}
    assert received["_meta"] == {"x/y": "z"}
    assert received["name"] == "echo"


async def test_two_clients_with_equal_ids_and_progress_tokens_get_their_own(
    worker: Worker, backend: McpBackend
) -> None:
    """relay.md 1: ids and progress tokens are re-minted per upstream connection."""
    both = asyncio.Barrier(2)

    async def steps(http: Http) -> None:
        await both.wait()
        await http.progress(1, message=http.params["arguments"]["who"])
        await both.wait()
        await http.result(text(http.params["arguments"]["who"]))

    backend.tools["steps"] = steps

    async def call(who: str) -> list[Any]:
        params = {"name": "calc__steps", "arguments": {"who": who}, "_meta": {"progressToken": 1}}
        return (await worker.client(make_context(user_id=who)).call("tools/call", params)).events

    for who, (progress, result) in zip(("ann", "bob"), await asyncio.gather(call("ann"), call("bob")), strict=True):
        assert progress["params"] == {"progressToken": 1, "progress": 1, "message": who}
        assert result["id"] == 1
        assert result["result"]["content"][0]["text"] == who


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_client_that_leaves_reaches_the_backend(worker: Worker, backend: McpBackend, era: str) -> None:
    """relay.md 8: cancellation goes all the way."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def wait(http: Http) -> None:
        begun.set()
        await http.until_gone()
        gone.set()

    backend.tools["wait"] = wait
    if era == "legacy":
        conversation = worker.client().begin(request("tools/call", {"name": "calc__wait"}))
    else:
        conversation = worker.modern().begin("tools/call", {"name": "calc__wait"})
    async with asyncio.timeout(10):
        await begun.wait()
        conversation.hang_up()
        await gone.wait()
        await conversation.task


async def test_tenants_neither_see_nor_call_each_others_tools(worker: Worker) -> None:
    """Security T4: a foreign tool is an unknown tool, byte for byte."""
    mine, theirs = worker.client(), worker.client(make_context("t2", "u2"))
    listed = (await mine.call("tools/list")).body
    assert b"calc__echo" in listed
    assert b"other__" not in listed
    assert b"calc__" not in (await theirs.call("tools/list")).body

    for name in ("calc__echo", "calc.echo"):
        foreign = await theirs.call("tools/call", {"name": name})
        unknown = await theirs.call("tools/call", {"name": name.replace("calc", "cxlc")})
        assert foreign.body.replace(b"calc", b"cxlc") == unknown.body
        assert foreign.headers == unknown.headers
        assert foreign.status == unknown.status


async def test_a_dead_backend_is_an_error_of_its_own_tools(clock: FakeClock, backend: McpBackend) -> None:
    """Security O6: the list keeps the others; the call ends with a sentence that names the backend."""
    async with AsyncExitStack() as stack:
        alive = await stack.enter_async_context(serve(demo_backend()))
        dying = await stack.enter_async_context(AsyncExitStack())
        url = await dying.enter_async_context(serve(backend))
        worker = await stack.enter_async_context(open_worker({"calc": url, "alive": alive}, clock))
        client = worker.client()
        await client.call("tools/list")
        await dying.aclose()

        for asked in (client, worker.modern()):
            reply = await asked.call("tools/call", {"name": "calc__echo"})
            assert reply.status == 200
            assert reply.json["error"]["code"] in (-32000, -32003)
            assert "'calc'" in reply.json["error"]["message"]
        assert b"calc__echo" in (await client.call("tools/list")).body
        assert (await client.call("tools/call", {"name": "alive__echo"})).json["result"]["isError"] is False


async def test_a_session_goes_on_at_every_worker(redis_url: str, clock: FakeClock, backend: McpBackend) -> None:
    """relay.md 2, 5: strict round robin over two workers; the count goes on, it does not restart."""
    redis = open_redis(redis_url)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(backend))
        workers = []
        for _ in range(2):
            store = await stack.enter_async_context(RedisSessionStore(redis, clock))
            workers.append(await stack.enter_async_context(open_worker({"calc": url}, clock, store)))
        opened = await workers[0].client().call("initialize", {"protocolVersion": "2025-11-25"})
        session_id = opened.headers["mcp-session-id"]
        clients = [worker.client(mcp_session_id=session_id) for worker in workers]
        counts = []
        for n in range(6):
            reply = await clients[n % 2].call("tools/call", {"name": "calc__count"})
            counts.append(reply.json["result"]["content"][0]["text"])
        assert counts == ["1", "2", "3", "4", "5", "6"]

        assert (await clients[1].send("DELETE")).status == 204
        async with asyncio.timeout(5):
            while (await clients[0].call("ping")).status != 404:  # another worker's news
                await asyncio.sleep(0.01)
    await redis.aclose()
