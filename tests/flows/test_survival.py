"""Sessions survive: a killed worker, and a restart of every gateway process, with a stateful backend behind them."""

import asyncio
import json
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from tests.support.mcp_wire import Wire, text_of
from tests.support.topology import Topology, bearer, running_topology


@pytest_asyncio.fixture
async def topology(postgres_url: str, redis_url: str) -> AsyncIterator[Topology]:
    async with running_topology(database_url=postgres_url, redis_url=redis_url, gateways=2, workers=2) as running:
        yield running


def _count(text: str) -> int:
    return int(json.loads(text)["count"]) if text.startswith("{") else int("".join(filter(str.isdigit, text)))


def _workers(topology: Topology, index: int) -> list[psutil.Process]:
    supervisor = topology.gateways[index].process
    assert supervisor is not None
    children = psutil.Process(supervisor.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


async def test_a_session_and_its_counter_go_on_after_a_worker_and_every_gateway_died(topology: Topology) -> None:
    """Issue: kill -9 of a worker, then a restart of both processes; same session id, the count goes on."""
    first, second = topology.gateways
    async with bearer(topology.token("ann@example.com", "acme")) as http:
        wire = Wire(http, f"{first.url}/mcp")
        await wire.initialize()
        session = wire.session
        assert session
        assert [_count(text_of(await wire.call("demo__counter"))) for _ in range(3)] == [1, 2, 3]

        in_flight = [
            asyncio.create_task(Wire(http, f"{first.url}/mcp", session=session).call("demo__slow", {"seconds": 3}))
            for _ in range(4)
        ]
        await asyncio.sleep(1)
        _workers(topology, 0)[0].kill()
        outcomes = await asyncio.gather(*in_flight, return_exceptions=True)
        assert len(outcomes) == 4  # those on the killed worker fail, nothing else is asked of them

        elsewhere = Wire(http, f"{second.url}/mcp", session=session)
        assert _count(text_of(await elsewhere.call("demo__counter"))) == 4

        for gateway in (first, second):
            gateway.kill()
        for gateway in (first, second):
            gateway.start()
        await asyncio.gather(first.wait_until_ready(), second.wait_until_ready())
        for number, gateway in enumerate((second, first, second), start=5):
            again = Wire(http, f"{gateway.url}/mcp", session=session)
            assert _count(text_of(await again.call("demo__counter"))) == number


async def test_a_foreign_session_id_is_the_same_as_an_unknown_one(topology: Topology) -> None:
    """reference S1 and T4: bound to user, client and tenant; foreign and unknown cannot be told apart."""
    url = f"{topology.gateways[0].url}/mcp"
    async with (
        bearer(topology.token("ann@example.com", "acme")) as ann,
        bearer(topology.token("bob@example.com", "rival")) as bob,
    ):
        hers = Wire(ann, url)
        await hers.initialize()
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accept = {"Accept": "application/json, text/event-stream"}
        foreign = await bob.post(url, json=ping, headers={**accept, "Mcp-Session-Id": str(hers.session)})
        unknown = await bob.post(url, json=ping, headers={**accept, "Mcp-Session-Id": "x" * 43})
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.text == unknown.text


@pytest.mark.parametrize("modern", [False, True])
async def test_a_tenant_neither_sees_nor_calls_the_tools_of_another(topology: Topology, modern: bool) -> None:
    """Issue: two users in two tenants; a foreign tool is an unknown tool, byte for byte."""
    url = f"{topology.gateways[0].url}/mcp"
    async with (
        bearer(topology.token("ann@example.com", "acme")) as ann,
        bearer(topology.token("bob@example.com", "rival")) as bob,
    ):
        hers, his = Wire(ann, url, modern=modern), Wire(bob, url, modern=modern)
        assert {name.partition("__")[0] for name in await hers.tool_names()} == {"demo"}
        assert {name.partition("__")[0] for name in await his.tool_names()} == {"secret-lab"}
        assert await _outcome(his, "demo__add") == await _outcome(his, "nope__add")


async def _outcome(wire: Wire, name: str) -> str:
    response = await wire.call(name, {"a": 1, "b": 1})
    return json.dumps({key: response[key] for key in ("result", "error") if key in response}).replace(name, "NAME")
