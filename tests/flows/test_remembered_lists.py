"""Lists outlive the worker that fetched them: a restart shows nobody an empty list (relay.md 7), on a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest_asyncio
from redis.asyncio import Redis

from gateway_proxy.domain.backend import Backend
from gateway_proxy.router.list_memory import REMEMBERED_SECONDS, RedisListMemory
from gateway_proxy.storage.redis.client import open_redis
from tests.flows.test_relay_lists import settle
from tests.support.clock import FakeClock
from tests.support.mcp_backends import McpBackend, serve, tool
from tests.support.relay_rooms import Relay, http_backend, make_context, open_relay
from tests.support.tcp_link import TcpLink

NOWHERE = "http://127.0.0.1:9"


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A Redis client."""
    client = open_redis(redis_url)
    yield client
    await client.aclose()


@asynccontextmanager
async def a_worker(redis: Redis, *backends: Backend) -> AsyncIterator[Relay]:
    """A worker that begins now, with the memory that all share."""
    clock = FakeClock()
    async with open_relay(backends, clock=clock, memory=RedisListMemory(redis, clock)) as relay:
        yield relay


async def fill(redis: Redis, backend: McpBackend) -> Backend:
    """Let a worker list a backend, and end both; the definition."""
    async with serve(backend) as url:
        definition = http_backend(url)
        async with a_worker(redis, definition) as relay:
            assert await relay.names() == ["calc__add", "calc__b"]
    return definition


def two_tools() -> McpBackend:
    """A backend with two tools."""
    return McpBackend(definitions=[tool("add", description="Adds."), tool("b")])


async def test_a_new_worker_lists_at_once_what_an_earlier_one_had_of_a_backend_that_is_down(redis: Redis) -> None:
    """relay.md 7: a slow or dead backend never delays or empties the list; its state is visible in /status."""
    definition = await fill(redis, two_tools())
    async with a_worker(redis, definition) as relay:
        assert await relay.names() == ["calc__add", "calc__b"]
        route = await relay.catalog.find_route(make_context(), "calc__b")
        assert route.upstream_name == "b"
        await settle(relay)
        assert await relay.names() == ["calc__add", "calc__b"]
        (status,) = await relay.catalog.status(make_context())
        assert status.state == "failing"
        assert status.tools == 2


async def test_what_is_remembered_is_fetched_anew_behind_it(redis: Redis) -> None:
    """relay.md 7: refreshed in the background."""
    definition = await fill(redis, two_tools())
    grown = McpBackend(definitions=[tool("add"), tool("b"), tool("c")])
    async with serve(grown) as url, a_worker(redis, replace(definition, url=f"{url}/mcp")) as relay:
        assert await relay.names() == ["calc__add", "calc__b"]
        await settle(relay)
        assert await relay.names() == ["calc__add", "calc__b", "calc__c"]


async def test_an_edited_definition_and_another_tenant_s_are_not_shown_what_is_remembered(redis: Redis) -> None:
    """Security T3: caches are keyed by tenant; a definition that was edited may be another server altogether."""
    definition = await fill(redis, two_tools())
    for other in (
        replace(definition, revision=definition.revision + 1, url=NOWHERE),
        replace(definition, tenant_id="t2", url=NOWHERE),
    ):
        async with a_worker(redis, other) as relay:
            assert await relay.names(make_context(other.tenant_id)) == []


async def test_a_memory_that_cannot_be_read_is_none(redis: Redis) -> None:
    """A later version, half a value, or nonsense: the list is fetched."""
    definition = await fill(redis, two_tools())
    keys = [key async for key in redis.scan_iter(match="gw:1:{t1}:list:*")]
    assert keys
    for key in keys:
        assert 0 < await redis.ttl(key) <= REMEMBERED_SECONDS
        whole = await redis.get(key)
        assert isinstance(whole, bytes)
        for value in (b"\x02" + whole[1:], whole[: len(whole) // 2], b"\x01nonsense"):
            await redis.set(key, value)
            async with a_worker(redis, replace(definition, url=NOWHERE)) as relay:
                assert await relay.names() == []


async def test_without_redis_a_list_is_fetched_as_ever(redis_url: str) -> None:
    """Security O5: Redis down is degraded but safe."""
    async with TcpLink(redis_url) as link:
        client = open_redis(f"redis://127.0.0.1:{link.port}/0")
        await link.cut()
        async with serve(two_tools()) as url, a_worker(client, http_backend(url)) as relay:
            assert await relay.names() == ["calc__add", "calc__b"]
        await client.aclose()
