"""The merged list of tools: names, limits, freshness, and that a slow or dead backend never delays it (relay.md 7)."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.domain.errors import BackendUnavailable, CursorInvalid, ToolUnknown
from gateway_proxy.domain.tenant import Naming
from gateway_proxy.router import shelf as shelf_room
from gateway_proxy.router import view as view_room
from gateway_proxy.router.directory import LIFETIME, RENEW_AFTER
from gateway_proxy.router.listing import MAX_DEFINITION, MAX_ITEMS
from gateway_proxy.router.shelf import FRESH_SECONDS
from tests.flows.test_relay_calls import call, texts
from tests.support.mcp_backends import Http, McpBackend, demo_backend, echo, serve, text, tool
from tests.support.relay_rooms import LEGACY, Relay, http_backend, make_context, open_relay


async def settle(relay: Relay) -> None:
    """Let renewals under way end."""
    for held in relay.catalog._tenants.values():
        for shelf in (s for kind in held.lists.values() for s in kind.shelves.values()):
            if shelf._task is not None:
                await shelf._task


async def test_the_lists_of_all_backends_are_merged_in_one_order_and_definitions_stay_whole() -> None:
    """contract.md, Names of tools; relay.md 7: deterministic order, unknown fields kept."""
    returned = {"type": "object", "$defs": {"a": {}}}
    odd = tool("z.z", annotations={"readOnlyHint": True}, vendor={"x": [1.0]}, outputSchema=returned)
    first, second = McpBackend(definitions=[odd, tool("b")]), McpBackend(definitions=[tool("a")])
    async with (
        serve(first) as url,
        serve(second) as other,
        open_relay([http_backend(url, "Zoo"), http_backend(other, "app")]) as relay,
    ):
        page = await relay.catalog.list_tools(make_context(), LEGACY)
        listed = json.loads(page.raw)
        assert [definition["name"] for definition in listed] == ["Zoo__b", "Zoo__z_z", "app__a"]
        assert {**listed[1], "name": "z.z"} == odd
        assert [json.loads(raw) for raw in page.definitions] == listed
        assert page.next_cursor is None
        assert await relay.catalog.list_servers(make_context()) == {
            "Zoo": ("Zoo__b", "Zoo__z_z"),
            "app": ("app__a",),
        }
        some = await relay.catalog.list_tools(make_context(), LEGACY, servers={"app", "none"})
        assert [json.loads(raw)["name"] for raw in some.definitions] == ["app__a"]
        assert await relay.catalog.list_tools(make_context(), LEGACY) is page


async def test_aliases_lead_to_the_backends_own_names() -> None:
    """contract.md: tools/call also accepts <server>.<tool>; the suffixed, the mangled and the dotted name all work."""
    backend = McpBackend(definitions=[tool("a.b"), tool("a/b"), tool("x" * 90)])
    backend.tools.update({"a.b": echo, "a/b": echo, "x" * 90: echo})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        for name in [*await relay.names(), "calc.a.b", "calc.a/b", f"calc.{'x' * 90}", "calc__a.b"]:
            await call(relay, name)
    called = [message["params"]["name"] for message, _ in backend.calls("tools/call")]
    assert called == ["a.b", "a/b", "x" * 90] * 0 + called
    assert sorted(set(called)) == sorted(["a.b", "a/b", "x" * 90])
    assert called[-4:] == ["a.b", "a/b", "x" * 90, "a.b"]


async def test_without_prefix_a_single_backend_keeps_its_names() -> None:
    """contract.md: naming.prefix none; with a second backend the prefix comes back rather than a clash."""
    context = make_context(naming=Naming("none"))
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        assert await relay.names(context) == ["count", "echo", "echo_events"]
        assert len(texts(await call(relay, "echo", ctx=context))) == 1
        assert len(texts(await call(relay, "calc.echo", ctx=context))) == 1
        relay.backends.append(http_backend(url, "other"))
        relay.clock.advance(LIFETIME)
        assert "other__echo" in await relay.names(context)


async def test_upstream_pages_are_followed_within_the_limits() -> None:
    """security.md D2: ≤ 500 tools per backend, definition ≤ 64 KiB; what is left out shows in the status."""
    definitions: list[Any] = [tool(f"t{number:04}") for number in range(MAX_ITEMS + 100)]
    definitions[3:3] = [tool("big", description="x" * MAX_DEFINITION), {"description": "no name"}, {"name": 7}, "x"]
    definitions[9:9] = [tool("t0001"), tool(""), tool("t0000-bad", inputSchema=[]), tool("t0000", title=1)]
    del definitions[0]
    backend = McpBackend(definitions=definitions, page_size=50)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        names = await relay.names()
        assert names == [f"calc__t{number:04}" for number in range(MAX_ITEMS)]
        (status,) = await relay.catalog.status(make_context())
        assert (status.state, status.tools, len(status.notes)) == ("ready", MAX_ITEMS, 6)


@pytest.mark.parametrize("kind", ["cycle", "endless"])
async def test_a_list_that_never_ends_is_cut(kind: str) -> None:
    """security.md F7: 10,000 tools, and cursors that lead nowhere."""
    asked = 0

    async def lists(http: Http) -> None:
        nonlocal asked
        asked += 1
        await http.result({"tools": [], "nextCursor": "x" if kind == "cycle" else str(asked)})

    async with (
        serve(McpBackend(handlers={"tools/list": lists})) as url,
        open_relay([http_backend(url)]) as relay,
    ):
        assert await relay.names() == []
        assert asked <= 101


async def test_a_backend_without_tools_lists_none() -> None:
    """A backend may offer only prompts or resources: -32601 to tools/list."""

    async def refuses(http: Http) -> None:
        await http.error(-32601, "Method not found")

    async with serve(McpBackend(handlers={"tools/list": refuses})) as url, open_relay([http_backend(url)]) as relay:
        assert await relay.names() == []
        (status,) = await relay.catalog.status(make_context())
        assert (status.state, status.problem) == ("ready", None)


async def test_pages_are_cut_and_cursors_are_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.md 7: cursor pagination both ways; a cursor of another tenant, or a made-up one, is refused."""
    monkeypatch.setattr(view_room, "PAGE_ITEMS", 3)
    backend = McpBackend(definitions=[tool(f"t{number}") for number in range(8)])
    async with serve(backend) as url, open_relay([http_backend(url), http_backend(url, tenant_id="t2")]) as relay:
        found: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = await relay.catalog.list_tools(make_context(), LEGACY, cursor=cursor)
            found += [json.loads(raw)["name"] for raw in page.definitions]
            cursor = page.next_cursor or cursor
        assert found == [f"calc__t{number}" for number in range(8)]
        assert page.next_cursor is None
        forged = base64.urlsafe_b64encode(b"1" + b"x" * 8 + b"calc__t1").decode()
        first, empty = [await relay.catalog.list_tools(make_context(), LEGACY, cursor=none) for none in (None, "")]
        assert first.raw == empty.raw
        for bad in ("x", "é", "a" * 40, forged):
            with pytest.raises(CursorInvalid):
                await relay.catalog.list_tools(make_context(), LEGACY, cursor=bad)
        with pytest.raises(CursorInvalid):
            await relay.catalog.list_tools(make_context("t2"), LEGACY, cursor=cursor)


async def test_a_slow_backend_is_waited_for_only_once_and_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.md 7: a slow or dead backend never delays the list beyond a short first wait."""
    monkeypatch.setattr(shelf_room, "FIRST_LIST_WAIT", 0.2)
    release = asyncio.Event()
    slow = demo_backend()

    async def lists(http: Http) -> None:
        await release.wait()
        await slow._list(http)

    slow.handlers["tools/list"] = lists
    async with (
        serve(slow) as url,
        serve(demo_backend()) as other,
        open_relay([http_backend(url, "slow"), http_backend(other, "quick")]) as relay,
    ):
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert all(name.startswith("quick__") for name in await relay.names())
        assert 0.15 < loop.time() - started < 2
        relay.clock.advance(0.3)
        started = loop.time()
        assert len(await relay.names()) == 3
        assert loop.time() - started < 0.1
        states = {status.name: status.state for status in await relay.catalog.status(make_context())}
        assert states == {"quick": "ready", "slow": "starting"}
        release.set()
        await settle(relay)
        assert len(await relay.names()) == 6


async def test_the_last_good_list_is_served_while_its_backend_is_down() -> None:
    """relay.md 7: its last good snapshot is served, its state is visible in /status."""
    backend = demo_backend()

    async def down(http: Http) -> None:
        await http.raw(500, b"")

    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        names = await relay.names()
        backend.handlers["tools/list"] = down
        relay.clock.advance(FRESH_SECONDS)
        assert await relay.names() == names
        await settle(relay)
        assert await relay.names() == names
        (status,) = await relay.catalog.status(make_context())
        assert (status.state, status.problem, status.tools) == ("failing", "it answered with status 500", 3)
        assert status.listed_at is not None
        asked = len(backend.calls("tools/list"))
        for _ in range(5):
            await relay.names()
        assert len(backend.calls("tools/list")) == asked  # back-off
        del backend.handlers["tools/list"]
        relay.clock.advance(2)
        await relay.names()
        await settle(relay)
        (status,) = await relay.catalog.status(make_context())
        assert (status.state, status.problem) == ("ready", None)


async def test_a_list_is_renewed_in_the_background_when_it_is_old() -> None:
    """relay.md 7: refreshed on TTL; the caller that finds it old is not kept waiting."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert len(await relay.names()) == 3
        backend.tools["new"] = echo
        assert len(await relay.names()) == 3
        relay.clock.advance(FRESH_SECONDS)
        assert len(await relay.names()) == 3
        await settle(relay)
        assert len(await relay.names()) == 4
        assert len(backend.calls("tools/list")) == 2


async def test_list_changed_during_a_call_renews_the_list() -> None:
    """relay.md 7: refreshed on list_changed."""
    backend = demo_backend()

    async def grow(http: Http) -> None:
        backend.tools["new"] = echo
        await http.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await http.result(text("grown"))

    backend.tools["grow"] = grow
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        relay.clock.advance(1.5)
        assert texts(await call(relay, "calc__grow")) == ["grown"]
        await settle(relay)
        assert "calc__new" in await relay.names()


async def test_a_tool_that_is_new_is_found_when_it_is_called() -> None:
    """Another worker may have listed it already; unknown names do not make us ask all the time."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        backend.tools["new"] = echo
        with pytest.raises(ToolUnknown):
            await call(relay, "calc__new")
        relay.clock.advance(6)
        assert len(texts(await call(relay, "calc__new"))) == 1
        asked = len(backend.calls("tools/list"))
        for _ in range(5):
            with pytest.raises(ToolUnknown):
                await call(relay, "calc__never")
        assert len(backend.calls("tools/list")) == asked


async def test_a_call_before_any_list_finds_its_tool() -> None:
    """After a restart a client goes on calling without listing first."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        assert len(texts(await call(relay, "calc__echo"))) == 1


async def test_a_tool_of_a_backend_that_cannot_be_listed_is_unavailable_and_not_unknown() -> None:
    """The model is told to try later, not that the tool is gone."""

    async def down(http: Http) -> None:
        await http.raw(500, b"")

    async with (
        serve(McpBackend(handlers={"initialize": down})) as url,
        serve(demo_backend()) as other,
        open_relay([http_backend(url, "down"), http_backend(other)]) as relay,
    ):
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "down__echo")
        assert (caught.value.backend, caught.value.reason) == ("down", "it answered with status 500")


async def test_edits_go_live_everywhere_within_two_seconds() -> None:
    """compatibility.md B10, B11: added and removed servers show at once; what was open for them is ended."""
    backend, other = demo_backend(), demo_backend()
    async with serve(backend) as url, serve(other) as other_url, open_relay([http_backend(url)]) as relay:
        assert len(await relay.names()) == 3
        await call(relay, "calc__echo")
        relay.backends.append(http_backend(other_url, "more"))
        relay.clock.advance(LIFETIME)
        assert len(await relay.names()) == 6
        relay.backends[0] = replace(relay.backends[0], enabled=False)
        relay.clock.advance(LIFETIME)
        assert await relay.names() == ["more__count", "more__echo", "more__echo_events"]
        with pytest.raises(ToolUnknown):
            await call(relay, "calc__echo")
        async with asyncio.timeout(5):
            while len(backend.ended) < 2:
                await asyncio.sleep(0.005)
        relay.backends[1] = replace(relay.backends[1], revision=2, url=f"{url}/mcp")
        relay.clock.advance(LIFETIME)
        await call(relay, "more__echo")
        assert len(backend.calls("tools/call")) == 2


async def test_a_directory_under_load_is_renewed_without_anybody_waiting() -> None:
    """≤ 2 s old; between one and two seconds the old list is served while the new one is read."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        directory = relay.catalog._directory
        before = await directory.list("t1")
        relay.clock.advance(RENEW_AFTER)
        assert await directory.list("t1") is before
        await asyncio.sleep(0)
        assert await directory.list("t1") is before  # nothing changed: the same tuple
        relay.backends.append(http_backend(url, "b"))
        relay.clock.advance(RENEW_AFTER)
        assert len(await directory.list("t1")) == 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(await directory.list("t1")) == 2
        assert await directory.list("t2") == ()
