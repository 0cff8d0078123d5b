"""The deprecated HTTP+SSE transport of the gateway itself, with the official SDK's client, over two workers."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from mcp import ClientSession
from mcp.client.sse import sse_client

from tests.support.databases import MigratedPostgres
from tests.support.redis import empty_redis
from tests.support.topology import Topology, bearer, running_topology

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topology(migrated_postgres: MigratedPostgres, redis_server: str) -> AsyncIterator[Topology]:
    empty_redis(redis_server)
    with migrated_postgres.lend() as url:
        async with running_topology(database_url=url, redis_url=redis_server, gateways=1, workers=2) as running:
            yield running


async def test_an_sse_client_lists_and_calls_with_progress(topology: Topology) -> None:
    """compatibility B3; MCP 2024-11-05, HTTP with SSE: answers come on the stream, whichever worker took the POST."""
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    headers = {"Authorization": f"Bearer {topology.token('ann@example.com', 'acme')}"}
    async with (
        asyncio.timeout(60),
        sse_client(f"{topology.gateways[0].url}/sse", headers=headers) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        assert "demo__add" in {tool.name for tool in (await session.list_tools()).tools}
        for number in range(8):  # two workers take turns at the POSTs
            result = await session.call_tool("demo__add", {"a": number, "b": 1})
            assert str(number + 1) in str(result.content)
        arguments = {"seconds": 1, "steps": 4}
        await session.call_tool("demo__slow", arguments, progress_callback=on_progress)
    assert len(seen) >= 3


async def test_a_stream_of_somebody_else_is_unknown(topology: Topology) -> None:
    """reference S1: foreign == unknown, on this transport too; and no token, no stream."""
    url = topology.gateways[0].url
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with (
        asyncio.timeout(60),
        bearer(topology.token("ann@example.com", "acme")) as ann,
        bearer(topology.token("bob@example.com", "rival")) as bob,
        ann.stream("GET", f"{url}/sse") as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: endpoint"
        address = (await anext(lines)).removeprefix("data: ")
        foreign = await bob.post(url + address, json=ping)
        unknown = await bob.post(f"{url}/messages/?session_id={'x' * 43}", json=ping)
        assert (foreign.status_code, foreign.text) == (unknown.status_code, unknown.text)
        assert foreign.status_code == 404
        assert (await ann.post(url + address, json=ping)).status_code == 202
    async with httpx2.AsyncClient() as nobody:
        assert (await nobody.get(f"{url}/sse")).status_code == 401
        assert (await nobody.post(url + address, json=ping)).status_code == 401
