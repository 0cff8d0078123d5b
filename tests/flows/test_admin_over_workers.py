"""Managing a running gateway: `serve --workers 2` on PostgreSQL and Redis, real processes, a real stdio server."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.tables import metadata
from tests.support.databases import MigratedPostgres
from tests.support.gateway import GatewayProcess
from tests.support.llm.scripted import Raw, Said, ScriptedOpenAI
from tests.support.llm.serving import serve
from tests.support.mcp_wire import Wire, text_of
from tests.support.redis import empty_redis
from tests.support.topology import Topology, running_topology

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "platform-key-for-tests-0123456789abcdef"
DEMO = {"command": sys.executable, "args": ["-m", "gateway_proxy.demo"]}
ROUNDS = 12


@asynccontextmanager
async def two_workers(database_url: str, redis_url: str) -> AsyncIterator[Topology]:
    """One gateway of two workers, with a runner beside it."""
    async with running_topology(
        database_url=database_url,
        redis_url=redis_url,
        gateways=1,
        workers=2,
        environment={"GATEWAY_ADMIN_API_KEY": KEY, "GATEWAY_LOG_LEVEL": "debug"},
    ) as topology:
        yield topology


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topology(migrated_postgres: MigratedPostgres, redis_server: str) -> AsyncIterator[Topology]:
    """Every test leaves it running, and in acme what the file says."""
    empty_redis(redis_server)
    with migrated_postgres.lend() as url:
        async with two_workers(url, redis_server) as topology:
            yield topology


class Fresh(httpx2.AsyncClient):
    """A client with a new connection for each request, so that the kernel spreads them over the workers."""

    def __init__(self, token: str) -> None:
        super().__init__(
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            limits=httpx2.Limits(max_keepalive_connections=0),
            verify=False,
        )


async def operate(
    topology: Topology, method: str, path: str, body: Any = None, *, tenant: str = "acme"
) -> httpx2.Response:
    """What the operator asks with the platform key, in acme."""
    async with Fresh(KEY) as http:
        return await http.request(method, f"{topology.gateways[0].url}{path}", params={"tenant": tenant}, json=body)


async def chats(topology: Topology, token: str, times: int = ROUNDS) -> list[httpx2.Response]:
    """The same chat with `writer` over many fresh connections: both workers are among those who answer."""
    chat = {"model": "writer", "messages": [{"role": "user", "content": "Hello"}]}
    async with Fresh(token) as http:
        url = f"{topology.gateways[0].url}/v1/chat/completions"
        return [await http.post(url, json=chat) for _ in range(times)]


async def dump(topology: Topology) -> str:
    """Every row of every table, as it stands there."""

    def rows(session: Session) -> str:
        return "".join(repr(tuple(row)) for table in metadata.sorted_tables for row in session.execute(select(table)))

    database = Database(topology.environment["GATEWAY_DATABASE_URL"])
    try:
        return await database.read(rows)
    finally:
        await database.close()


async def lists(topology: Topology, token: str) -> list[list[str]]:
    """The lists of many fresh connections, one after the other: both workers are among them."""
    found = []
    async with Fresh(token) as http:
        for _ in range(ROUNDS):
            found.append(await Wire(http, f"{topology.gateways[0].url}/mcp").tool_names())
    return found


def workers(gateway: GatewayProcess) -> list[psutil.Process]:
    """The worker processes of a gateway."""
    assert gateway.process is not None
    found = []
    for child in psutil.Process(gateway.process.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            found.append(child)
    return found


def count(page: str, pattern: str) -> float:
    """The sum of the samples whose name and labels match."""
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if re.match(pattern, line))


async def scrape(topology: Topology) -> str:
    """The metrics page, by whichever worker answers."""
    response = await operate(topology, "GET", "/metrics")
    assert response.status_code == 200
    return response.text


async def test_servers_come_and_go_in_both_workers(topology: Topology) -> None:
    """B9-B12 with a stdio server that the platform key defines; its tools vanish at once everywhere."""
    token = await asyncio.to_thread(topology.token, "ann@example.com", "acme", "mcp")
    before = await lists(topology, token)
    assert all(names == before[0] for names in before)
    assert (await operate(topology, "GET", "/servers")).json() == {"servers": ["demo"]}

    added = await operate(topology, "POST", "/servers", {"mcpServers": {"more": DEMO}})
    assert (added.status_code, added.json()) == (200, {"added": ["more"]})
    expected = sorted([*before[0], *(name.replace("demo__", "more__") for name in before[0])])
    assert all(names == expected for names in await lists(topology, token))
    async with Fresh(token) as http:
        wire = Wire(http, f"{topology.gateways[0].url}/mcp")
        answers = [text_of(await wire.call("more__add", {"a": 2, "b": number})) for number in range(ROUNDS)]
    assert answers == [str(2 + number) for number in range(ROUNDS)]

    removed = await operate(topology, "DELETE", "/servers/more")
    assert removed.json() == {"removed": "more"}
    assert all(names == before[0] for names in await lists(topology, token))
    assert (await operate(topology, "GET", "/tools")).json()["tools"] == {"demo": before[0]}


async def test_what_was_added_outlives_a_restart_with_the_same_file(topology: Topology) -> None:
    """D11: live at once, and kept; the file is applied at every start."""
    await operate(topology, "POST", "/servers", {"mcpServers": {"more": DEMO}})
    gateway = topology.gateways[0]
    assert await asyncio.to_thread(gateway.stop) == 0
    gateway.start()
    await gateway.wait_until_ready()
    assert (await operate(topology, "GET", "/servers")).json() == {"servers": ["demo", "more"]}
    await operate(topology, "DELETE", "/servers/more")


async def test_a_tenant_s_administrator_manages_its_own_tenant_only(topology: Topology) -> None:
    """B12: scope `admin` in that tenant; a command is the operator's alone."""
    token = await asyncio.to_thread(topology.token, "bob@example.com", "rival", "admin")
    base = topology.gateways[0].url
    async with Fresh(token) as http:
        assert (await http.get(f"{base}/servers", params={"tenant": "acme"})).json() == {"servers": ["secret-lab"]}
        refused = await http.post(f"{base}/servers", json={"mcpServers": {"x": DEMO}})
        assert (refused.status_code, refused.json()["details"][0].partition(":")[0]) == (422, "mcpServers.x.command")
        assert (await http.delete(f"{base}/servers/demo")).status_code == 404
        assert (await http.delete(f"{base}/servers/secret-lab")).status_code == 200
    assert (await operate(topology, "GET", "/servers")).json() == {"servers": ["demo"]}


async def test_an_assistant_comes_and_goes_in_both_workers_and_its_key_is_never_seen(topology: Topology) -> None:
    """D11: live at once, and kept; security K1, K3, T1: sealed, write-only, and of one tenant."""
    secret = "sk-never-to-be-seen-0123456789"
    token = await asyncio.to_thread(topology.token, "ann@example.com", "acme", "openai")
    foreign = await asyncio.to_thread(topology.token, "bob@example.com", "rival", "openai")
    assert {answer.status_code for answer in await chats(topology, token)} == {404}
    llm = ScriptedOpenAI(script=[Said("Hello back")] * ROUNDS)
    async with serve(llm.app()) as url:
        provider = {"base_url": f"{url}/v1", "api_key": secret, "default_headers": {"X-Team-Key": secret}}
        shown = [await operate(topology, "PUT", "/admin/backends/local", provider)]
        shown.append(
            await operate(topology, "PUT", "/admin/assistants/writer", {"backend": "local", "model": "m"}),
        )
        assert [answer.status_code for answer in shown] == [200, 200]

        answers = await chats(topology, token)
        assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {"Hello back"}
        assert {headers["authorization"] for headers in llm.headers} == {f"Bearer {secret}"}
        assert {answer.status_code for answer in await chats(topology, foreign)} == {404}
        llm.script = [Raw(body={"error": {"message": f"no such key: {secret}"}}, status=400)]
        shown += await chats(topology, token, 1)
        assert shown[-1].json()["error"]["message"].endswith("no such key: [redacted]")

        shown += [await operate(topology, "GET", f"/admin/{page}") for page in ("config", "providers", "assistants")]
        shown.append(await operate(topology, "GET", "/admin/providers/local"))
        for page in ("providers", "assistants"):
            others = await operate(topology, "GET", f"/admin/{page}", tenant="rival")
            assert others.json() == {page: []}
        assert "writer" not in (await operate(topology, "GET", "/admin/config", tenant="rival")).text

        in_use = await operate(topology, "DELETE", "/admin/backends/local")
        assert in_use.status_code == 422
        assert (await operate(topology, "DELETE", "/admin/assistants/writer")).json() == {"removed": "writer"}
        gone = await chats(topology, token)
        assert {(answer.status_code, answer.json()["error"]["code"]) for answer in gone} == {(404, "model_not_found")}

    async with asyncio.timeout(10):  # the trail is written behind the caller
        while "chat.completed" not in (rows := await dump(topology)):
            await asyncio.sleep(0.1)
    assert (await operate(topology, "DELETE", "/admin/backends/local")).json() == {"removed": "local"}
    logs = "".join(path.read_text() for path in topology.folder.glob("*.log"))
    assert "provider.added" in rows
    for text in (rows, logs, await dump(topology), *(answer.text for answer in shown)):
        assert secret not in text


async def test_counts_of_two_workers_add_up_and_outlive_a_worker(postgres_url: str, redis_url: str) -> None:
    """Issue 3: /metrics with several workers; contract: `/metrics` opens with the platform key."""
    async with two_workers(postgres_url, redis_url) as topology:
        await _count_and_kill(topology)


async def _count_and_kill(topology: Topology) -> None:
    token = await asyncio.to_thread(topology.token, "ann@example.com", "acme", "mcp")
    base = topology.gateways[0].url
    calls = r'gateway_tool_calls_total\{outcome="ok",surface="mcp"\}'
    async with Fresh(token) as http:
        for _ in range(2 * ROUNDS):
            assert text_of(await Wire(http, f"{base}/mcp").call("demo__add", {"a": 1, "b": 1})) == "2"
    async with asyncio.timeout(10):  # each worker hands its counts over once a second
        while count(await scrape(topology), calls) < 2 * ROUNDS:
            await asyncio.sleep(0.2)
    pages = [await scrape(topology) for _ in range(6)]
    assert [count(page, calls) for page in pages] == [2 * ROUNDS] * 6
    assert count(pages[0], r'gateway_tool_call_seconds_count\{surface="mcp"\}') == 2 * ROUNDS
    assert count(pages[0], "gateway_tasks ") > 2  # each worker has some of its own

    (folder,) = (topology.folder / "data").glob("metrics-*")
    counting = {path.name for path in folder.glob("counter_*.db")}
    assert counting == {f"counter_{worker.pid}.db" for worker in workers(topology.gateways[0])}

    victim = workers(topology.gateways[0])[0]
    victim.send_signal(signal.SIGKILL)
    async with asyncio.timeout(30):
        while not (folder / "counter_gone.db").exists() or len(workers(topology.gateways[0])) < 2:
            await asyncio.sleep(0.1)
    assert not (folder / f"counter_{victim.pid}.db").exists()
    assert {count(await scrape(topology), calls) for _ in range(6)} == {2 * ROUNDS}

    assert await asyncio.to_thread(topology.gateways[0].stop) == 0
    assert list(Path(topology.folder / "data").glob("*metrics-*")) == []
