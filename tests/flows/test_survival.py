"""What survives: a killed worker, a restart of every gateway, a deploy under load; with real backends behind."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio

from tests.support.databases import MigratedPostgres
from tests.support.gateway import free_port
from tests.support.mcp_wire import ACCEPT, LEGACY, MODERN, Wire, read_messages, text_of
from tests.support.redis import empty_redis
from tests.support.round_robin import round_robin
from tests.support.topology import CONFIG, ROOT, Topology, bearer, running_topology

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASKER = f"""      asker: {{{{command: {{python}}, args: ["-m", "tests.support.children.asker"], cwd: "{ROOT}"}}}}
  rival:"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topology(migrated_postgres: MigratedPostgres, redis_server: str) -> AsyncIterator[Topology]:
    """Two gateways with two workers each. Every test leaves them running."""
    empty_redis(redis_server)
    config = CONFIG.replace("  rival:", ASKER, 1)
    with migrated_postgres.lend() as url:
        async with running_topology(
            database_url=url, redis_url=redis_server, gateways=2, workers=2, config=config
        ) as running:
            yield running


@pytest.fixture(scope="module")
def ann(topology: Topology) -> str:
    """The token of a user of the tenant `acme`."""
    return topology.token("ann@example.com", "acme")


def _count(text: str) -> int:
    return int(json.loads(text)["count"]) if text.startswith("{") else int("".join(filter(str.isdigit, text)))


def _workers(topology: Topology, index: int) -> list[psutil.Process]:
    supervisor = topology.gateways[index].process
    assert supervisor is not None
    found = []
    for child in psutil.Process(supervisor.pid).children():
        with contextlib.suppress(psutil.Error):  # one that is just ending
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


class Worker:
    """One worker of a gateway, reached over connections that it took."""

    def __init__(self, url: str, process: psutil.Process, token: str, stack: AsyncExitStack) -> None:
        self.url = f"{url}/mcp"
        self.process = process
        self._health = f"{url}/health"
        self._token = token
        self._stack = stack

    async def connect(self) -> httpx2.AsyncClient:
        """A client with one connection, to this worker. Which worker takes a connection is up to the kernel."""
        while True:
            http = await self._stack.enter_async_context(bearer(self._token))
            response = await http.get(self._health)
            port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
            if any(each.raddr and each.raddr.port == port for each in self.process.net_connections("tcp")):
                return http


async def _serving_workers(topology: Topology, index: int, token: str, stack: AsyncExitStack) -> list[Worker]:
    """Both workers of a gateway, once both take connections."""
    while len(found := _workers(topology, index)) < 2:
        await asyncio.sleep(0.05)
    workers = [Worker(topology.gateways[index].url, process, token, stack) for process in found]
    for worker in workers:
        await worker.connect()
    return workers


async def test_a_session_and_its_counter_go_on_after_a_worker_and_every_gateway_died(
    topology: Topology, ann: str
) -> None:
    """Issue: kill -9 of a worker, then a restart of both processes; same session id, the count goes on."""
    first, second = topology.gateways
    async with bearer(ann) as http:
        wire = Wire(http, f"{first.url}/mcp")
        await wire.initialize()
        session = wire.session
        assert session
        assert [_count(text_of(await wire.call("demo__counter"))) for _ in range(3)] == [1, 2, 3]

        slow = {"name": "demo__slow", "arguments": {"seconds": 3, "steps": 30}}
        wires = [Wire(http, f"{first.url}/mcp", session=session) for _ in range(4)]
        in_flight = [
            asyncio.create_task(each.request("tools/call", {**slow, "_meta": {"progressToken": number}}))
            for number, each in enumerate(wires)
        ]
        while not all(each.seen for each in wires):
            await asyncio.sleep(0.05)
        _workers(topology, 0)[0].kill()
        outcomes = await asyncio.gather(*in_flight, return_exceptions=True)
        assert len(outcomes) == 4  # those on the killed worker fail, nothing else is asked of them

        elsewhere = Wire(http, f"{second.url}/mcp", session=session)
        assert _count(text_of(await elsewhere.call("demo__counter"))) == 4

        async with AsyncExitStack() as stack:  # one that only just starts would keep its address for a while
            await _serving_workers(topology, 0, ann, stack)
        for gateway in (first, second):
            gateway.kill()
        for gateway in (first, second):
            gateway.start()
        await asyncio.gather(first.wait_until_ready(), second.wait_until_ready())
        for number, gateway in enumerate((second, first, second), start=5):
            again = Wire(http, f"{gateway.url}/mcp", session=session)
            assert _count(text_of(await again.call("demo__counter"))) == number


def _legacy(session: str | None, **more: str) -> dict[str, str]:
    own = {} if session is None else {"Mcp-Session-Id": session}
    return {"Accept": ACCEPT, "MCP-Protocol-Version": LEGACY, **own, **more}


async def _ask(http: httpx2.AsyncClient, url: str, mark: Path, retry: dict[str, Any] | None = None) -> dict[str, Any]:
    """A call of a client of 2026-07-28 that its backend needs input for, or its retry with the input."""
    params: dict[str, Any] = {"name": "asker__elicit", "arguments": {"question": "why", "mark": str(mark)}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    }
    wire = Wire(http, url, modern=True)
    message = wire.message("tools/call", {**params, **(retry or {}), "_meta": meta})
    async with http.stream("POST", url, json=message, headers=wire.headers("tools/call", params)) as response:
        return [received async for received in read_messages(response)][-1]


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    assert asked["result"]["resultType"] == "input_required", asked
    [key] = asked["result"]["inputRequests"]
    answer = {"action": "accept", "content": {"because": 1}}
    return {"inputResponses": {key: answer}, "requestState": asked["result"]["requestState"]}


async def _last_id(lines: AsyncIterator[str], until: str) -> str:
    """Read a stream up to a line with `until` in it; the id of the last event with one."""
    seen = ""
    async for line in lines:
        if line.startswith("id:"):
            seen = line[3:].strip()
        if until in line and seen:
            return seen
    raise AssertionError(f"the stream ended without {until!r}")


async def _resume(http: httpx2.AsyncClient, url: str, session: str | None, last_id: str, until: str) -> str:
    """Come back for the rest of a stream; the first line with `until` in it."""
    async with http.stream("GET", url, headers=_legacy(session, **{"Last-Event-ID": last_id})) as response:
        return await anext(line async for line in response.aiter_lines() if until in line)


def _orphan(info: dict[str, Any]) -> str:
    """The command of a backend's process that nobody keeps any more."""
    command = " ".join(info["cmdline"] or ())
    return command if info["ppid"] == 1 and "tests.support.children.asker" in command else ""


async def _add_until(done: asyncio.Event, http: httpx2.AsyncClient, url: str) -> int:
    """Calls one after the other; how many there were. Each has to be right."""
    calls = 0
    while not done.is_set():
        assert text_of(await Wire(http, url).call("demo__add", {"a": calls, "b": 1})) == str(calls + 1)
        calls += 1
    return calls


async def test_what_a_killed_worker_held_fails_clearly_or_goes_on_elsewhere_and_nothing_runs_twice(
    topology: Topology, ann: str, tmp_path: Path
) -> None:
    """Issue 3, Done when; security F1: a parked call, the stream of a call and a GET stream, all on one worker."""
    async with AsyncExitStack() as stack, asyncio.timeout(120):
        doomed, other = await _serving_workers(topology, 0, ann, stack)
        at_doomed, at_other = await doomed.connect(), await other.connect()

        # A modern client answers at another worker than the one where its call is parked.
        asked = await _ask(at_doomed, doomed.url, tmp_path / "answered")
        told = await _ask(at_other, other.url, tmp_path / "answered", _answer(asked))
        assert json.loads(text_of(told))["told"]["result"] == {"action": "accept", "content": {"because": 1}}
        assert (tmp_path / "answered").read_text() == "made\n"

        parked = await _ask(at_doomed, doomed.url, tmp_path / "lost")
        wire = Wire(at_doomed, doomed.url)
        await wire.initialize()
        get = at_doomed.stream("GET", doomed.url, headers=_legacy(wire.session))
        listening = await stack.enter_async_context(get)
        get_id = await _last_id(listening.aiter_lines(), "data:")
        slow = wire.message("tools/call", {"name": "demo__slow", "arguments": {"seconds": 60, "steps": 600}})
        slow["params"]["_meta"] = {"progressToken": 1}
        calling = (await doomed.connect()).stream("POST", doomed.url, json=slow, headers=_legacy(wire.session))
        lines = (await stack.enter_async_context(calling)).aiter_lines()
        call_id = await _last_id(lines, "notifications/progress")

        done = asyncio.Event()
        steady = [asyncio.create_task(_add_until(done, await other.connect(), other.url)) for _ in range(4)]
        before = {process.pid for process in _workers(topology, 0)}
        doomed.process.kill()
        died = time.monotonic()

        with pytest.raises(httpx2.HTTPError):
            [line async for line in lines]
        error, refused, first_line = await asyncio.gather(
            _resume(at_other, other.url, wire.session, call_id, "error"),
            _ask(await other.connect(), other.url, tmp_path / "lost", _answer(parked)),
            _resume(await other.connect(), other.url, wire.session, get_id, ":"),
        )
        assert time.monotonic() - died < 8  # five by the clause; the rest is for machines with other things to do
        assert '"code":-32000' in error
        assert "gone" in refused["error"]["message"]
        assert first_line.startswith(":")

        while len({process.pid for process in _workers(topology, 0)} | before) == len(before):
            await asyncio.sleep(0.05)
        assert time.monotonic() - died < 8
        done.set()
        assert all(await asyncio.gather(*steady))
        assert (tmp_path / "lost").read_text() == "made\n"
        assert topology.runner is not None
        runner = psutil.Process(topology.runner.pid)
        hosted = {process.pid for process in runner.children(recursive=True)}
        assert hosted
        assert not [name for each in psutil.process_iter(["ppid", "cmdline"]) if (name := _orphan(each.info))]


async def test_a_deploy_under_load_loses_no_call(topology: Topology, ann: str) -> None:
    """Security F11, O3: one gateway stops and a new one starts while calls and streams run through a proxy."""
    leaving = topology.gateways[0]
    upstreams = [gateway.url.removeprefix("http://") for gateway in topology.gateways]
    async with round_robin(free_port(), upstreams) as front, AsyncExitStack() as stack, asyncio.timeout(120):
        http = await stack.enter_async_context(bearer(ann))
        wire = Wire(http, f"{leaving.url}/mcp")
        await wire.initialize()
        listening = await stack.enter_async_context(http.stream("GET", wire.url, headers=_legacy(wire.session)))
        outcomes: list[str] = []
        done = asyncio.Event()
        loads = [asyncio.create_task(_load(done, ann, f"{front}/mcp", outcomes)) for _ in range(6)]
        await _until_more(outcomes, 20)
        slow = [
            asyncio.create_task(Wire(http, wire.url, session=session).call("demo__slow", {"seconds": 6}))
            for session in (None, wire.session)
            for _ in range(5)
        ]
        await _until_more(outcomes, 6)

        stopping = asyncio.create_task(asyncio.to_thread(leaving.stop))

        await _until_more(outcomes, 12)  # none of them waits for the one that is leaving
        assert not stopping.done()
        assert await stopping == 0
        assert all("result" in answer for answer in await asyncio.gather(*slow))
        assert [line async for line in listening.aiter_lines()]  # its end is no error
        leaving.start()
        await leaving.wait_until_ready()
        await _until_more(outcomes, 20)
        done.set()
        await asyncio.gather(*loads)
        assert set(outcomes) <= {"done", "503"}, {each: outcomes.count(each) for each in set(outcomes)}
        assert outcomes.count("503") <= len(outcomes) / 10


async def _until_more(outcomes: list[str], number: int) -> None:
    """Wait for so many more calls."""
    enough = len(outcomes) + number
    while len(outcomes) < enough:
        await asyncio.sleep(0.05)


async def _load(done: asyncio.Event, token: str, url: str, outcomes: list[str]) -> None:
    """Calls through the proxy until it is enough, each without a session and on a connection of its own."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    params = {"name": "demo__add", "arguments": {"a": 2, "b": 3}}
    while not done.is_set():
        try:
            async with bearer(token) as http:
                response = await http.post(url, json={**message, "params": params}, headers=_legacy(None))
            is_right = response.status_code == 200 and text_of(response.json()) == "5"
            is_honest = response.status_code == 503 and "retry-after" in response.headers
            outcomes.append("done" if is_right else "503" if is_honest else response.text)
        except httpx2.HTTPError as error:
            outcomes.append(repr(error))


async def test_a_foreign_session_id_is_the_same_as_an_unknown_one(topology: Topology, ann: str) -> None:
    """reference S1 and T4: bound to user, client and tenant; foreign and unknown cannot be told apart."""
    url = f"{topology.gateways[0].url}/mcp"
    async with (
        bearer(ann) as hers_http,
        bearer(topology.token("bob@example.com", "rival")) as bob,
    ):
        hers = Wire(hers_http, url)
        await hers.initialize()
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accept = {"Accept": "application/json, text/event-stream"}
        foreign = await bob.post(url, json=ping, headers={**accept, "Mcp-Session-Id": str(hers.session)})
        unknown = await bob.post(url, json=ping, headers={**accept, "Mcp-Session-Id": "x" * 43})
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.text == unknown.text


@pytest.mark.parametrize("modern", [False, True])
async def test_a_tenant_neither_sees_nor_calls_the_tools_of_another(topology: Topology, ann: str, modern: bool) -> None:
    """Issue: two users in two tenants; a foreign tool is an unknown tool, byte for byte."""
    url = f"{topology.gateways[0].url}/mcp"
    async with (
        bearer(ann) as hers_http,
        bearer(topology.token("bob@example.com", "rival")) as bob,
    ):
        hers, his = Wire(hers_http, url, modern=modern), Wire(bob, url, modern=modern)
        assert {name.partition("__")[0] for name in await hers.tool_names()} == {"demo", "asker"}
        assert {name.partition("__")[0] for name in await his.tool_names()} == {"secret-lab"}
        assert await _outcome(his, "demo__add") == await _outcome(his, "nope__add")


async def _outcome(wire: Wire, name: str) -> str:
    response = await wire.call(name, {"a": 1, "b": 1})
    return json.dumps({key: response[key] for key in ("result", "error") if key in response}).replace(name, "NAME")
