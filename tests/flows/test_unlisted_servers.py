"""Chats whose tool servers do not answer, over real servers: what counts as not available, and for how long it is
waited (compatibility D3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.provider import Provider
from gateway_proxy.router import shelf as shelf_room
from gateway_proxy.router.listing import PROMPTS
from gateway_proxy.router.shelf import FRESH_SECONDS
from tests.flows.test_relay_lists import settle
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve as serve_surface
from tests.support.llm.surface import FixedModels, surface
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, tool
from tests.support.relay_rooms import LEGACY, Relay, http_backend, make_context, open_relay

NOWHERE = "http://127.0.0.1:9"
ASK = [{"role": "user", "content": "Go"}]


@dataclass
class Chats:
    """The surface over a real relay."""

    upstream: ScriptedOpenAI
    http: httpx2.AsyncClient

    async def ask(self, model: str) -> httpx2.Response:
        """A chat."""
        return await self.http.post("/v1/chat/completions", json={"model": model, "messages": ASK})


@asynccontextmanager
async def chats(relay: Relay, **assistants: tuple[str, ...] | None) -> AsyncIterator[Chats]:
    """Assistants by name with the servers that they name."""
    upstream = ScriptedOpenAI([Said("Hi")] * 5)
    async with serve_surface(upstream.app()) as url:
        provider = Provider("p1", "t1", "local", "openai", "operator", 1, f"{url}/v1")
        made = [
            Assistant(f"a-{name}", "t1", name, "local", "m", 1, mcp_servers=servers)
            for name, servers in assistants.items()
        ]
        async with (
            surface(FixedModels({"t1": made}, {"t1": [provider]}), relay.catalog) as app,
            serve_surface(app) as base_url,
            httpx2.AsyncClient(base_url=base_url, timeout=30, verify=False) as http,
        ):
            yield Chats(upstream, http)


async def test_a_server_that_was_never_listed_fails_the_chat_until_it_answers() -> None:
    """The reason is that of `/status`; a server that is back is tried at once when it is due."""
    backend = demo_backend()
    is_down = True

    async def lists(http: Http) -> None:
        await (http.raw(500, b"/secret/path") if is_down else backend._list(http))

    backend.handlers["tools/list"] = lists
    async with (
        serve(backend) as url,
        open_relay([http_backend(url, "flaky")]) as relay,
        chats(relay, picky=("flaky",)) as on,
    ):
        answer = await on.ask("picky")
        (status,) = await relay.catalog.status(make_context())
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "tool_server_unavailable")
        assert answer.json()["error"]["message"].endswith(f"'flaky' is not available: {status.problem}.")
        assert on.upstream.requests == []
        is_down = False
        relay.clock.advance(int(answer.headers["retry-after"]))
        assert (await on.ask("picky")).status_code == 200
        assert len(on.upstream.requests[0]["tools"]) == 3


async def test_a_last_good_list_counts_as_listed() -> None:
    """Its tools are offered, and a call says what is wrong (relay.md 7)."""
    backend = demo_backend()

    async def down(http: Http) -> None:
        await http.raw(500, b"")

    async with (
        serve(backend) as url,
        open_relay([http_backend(url)]) as relay,
        chats(relay, picky=("calc",), open=None) as on,
    ):
        assert (await on.ask("picky")).status_code == 200
        backend.handlers["tools/list"] = down
        relay.clock.advance(FRESH_SECONDS)
        await relay.names()
        await settle(relay)
        assert (await relay.catalog.status(make_context()))[0].state == "failing"
        for name in ("picky", "open"):
            assert (await on.ask(name)).status_code == 200
            assert (on.upstream.requests[-1]["messages"], len(on.upstream.requests[-1]["tools"])) == (ASK, 3)


async def test_a_server_that_starts_is_waited_for_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.md 7: a short first wait; what is not there then is still starting."""
    monkeypatch.setattr(shelf_room, "FIRST_LIST_WAIT", 0.2)
    backend = demo_backend()
    release = asyncio.Event()

    async def lists(http: Http) -> None:
        await release.wait()
        await backend._list(http)

    backend.handlers["tools/list"] = lists
    async with (
        serve(backend) as url,
        open_relay([http_backend(url, "slow")]) as relay,
        chats(relay, picky=("slow",), open=None) as on,
    ):
        answer = await on.ask("picky")
        assert answer.status_code == 502
        assert answer.json()["error"]["message"].endswith("'slow' is not available: it is still starting.")
        assert answer.headers["x-should-retry"] == "true"
        assert (await on.ask("open")).status_code == 200
        assert "slow" in on.upstream.requests[0]["messages"][0]["content"]
        asyncio.get_running_loop().call_later(0.05, release.set)
        assert (await on.ask("picky")).status_code == 200


async def test_servers_without_tools_are_not_missing_and_those_that_are_down_are() -> None:
    """A server may offer nothing but prompts or resources, and may be odd about being asked for tools."""

    async def refuses(http: Http) -> None:
        await http.error(-32601, "Method not found")

    async def breaks(http: Http) -> None:
        await http.error(-32603, "Internal error")

    async def lists(http: Http) -> None:
        await http.result({"prompts": [{"name": "greet"}]})

    proper, odd = (
        McpBackend(handlers={"tools/list": answer, "prompts/list": lists}, capabilities={"prompts": {}})
        for answer in (refuses, breaks)
    )
    async with (
        serve(proper) as proper_url,
        serve(odd) as odd_url,
        serve(McpBackend(definitions=[tool("a")])) as url,
        open_relay(
            [
                http_backend(url),
                http_backend(proper_url, "proper"),
                http_backend(odd_url, "odd"),
                http_backend(NOWHERE, "down"),
            ]
        ) as relay,
    ):
        assert b"greet" in (await relay.catalog.list_kind(make_context(), LEGACY, PROMPTS)).raw
        async with chats(relay, open=None, picky=("calc", "proper", "odd"), broken=("calc", "down")) as on:
            assert (await on.ask("open")).status_code == 200
            (note, question) = on.upstream.requests[0]["messages"]
            assert "not available at the moment: down." in note["content"]
            assert [question] == ASK
            assert (await on.ask("picky")).status_code == 200
            assert (await on.ask("broken")).status_code == 502
