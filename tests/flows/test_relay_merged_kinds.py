"""Prompts and resources of several backends in one list, and where each goes (relay.md 7)."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway_proxy.domain.errors import BackendUnavailable, CursorInvalid, PromptUnknown, ResourceUnknown
from gateway_proxy.router import view as view_room
from gateway_proxy.router.listing import PROMPTS, RESOURCES, TEMPLATES, ListKind
from gateway_proxy.router.messages import Failure, Result
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Handler, Http, McpBackend, serve
from tests.support.relay_rooms import LEGACY, MODERN, Relay, http_backend, make_context, open_relay


def library(name: str, *uris: str, templates: tuple[str, ...] = (), prompts: tuple[str, ...] = ()) -> McpBackend:
    """A backend with these resources, templates and prompts; its answers say who gave them."""
    backend = McpBackend()

    def lists(member: str, items: list[dict[str, Any]]) -> Handler:
        async def answer(http: Http) -> None:
            await http.result({member: items})

        return answer

    async def initialize(http: Http) -> None:
        backend.sessions[f"session-{name}"] = 0
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"resources": {}, "prompts": {}, "completions": {}},
            "serverInfo": {"name": name, "version": "1"},
        }
        body = json.dumps({"jsonrpc": "2.0", "id": http.message["id"], "result": result}).encode()
        await http.raw(200, body, {"mcp-session-id": f"session-{name}"})

    async def tell(http: Http) -> None:
        await http.result({"by": name, "params": http.params})

    backend.handlers = {
        "initialize": initialize,
        "resources/list": lists("resources", [{"uri": uri, "name": uri, "x-by": name} for uri in uris]),
        "resources/templates/list": lists(
            "resourceTemplates", [{"uriTemplate": uri, "name": uri} for uri in templates]
        ),
        "prompts/list": lists("prompts", [{"name": prompt, "x": {"y": 1.0}} for prompt in prompts]),
        **dict.fromkeys(("resources/read", "prompts/get", "completion/complete", "resources/subscribe"), tell),
    }
    return backend


@asynccontextmanager
async def relaying(**backends: McpBackend) -> AsyncIterator[Relay]:
    """A relay over these, by name."""
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(serve(backend)) for name, backend in backends.items()}
        yield await stack.enter_async_context(
            open_relay([http_backend(url, name) for name, url in urls.items()], clock=FakeClock())
        )


async def ask(relay: Relay, method: str, **params: Any) -> Any:
    """The result of a request, decoded, or the Failure."""
    raw = json.dumps(params).encode()
    last = [message async for message in relay.requests.relay(make_context(), LEGACY, method=method, params=raw)][-1]
    return json.loads(last.raw) if isinstance(last, Result) else last


async def listed(relay: Relay, kind: ListKind) -> list[str]:
    """What is listed, by its key."""
    page = await relay.catalog.list_kind(make_context(), LEGACY, kind)
    return [item[kind.key] for item in json.loads(page.raw)]


async def test_prompts_of_two_backends_are_told_apart_by_name() -> None:
    """Like tools: prefix, mangling, dotted alias; unknown fields stay."""
    async with relaying(a=library("a", prompts=("p", "q.r")), b=library("b", prompts=("p",))) as relay:
        assert await listed(relay, PROMPTS) == ["a__p", "a__q_r", "b__p"]
        for name, by, own in (("a__p", "a", "p"), ("b__p", "b", "p"), ("a__q_r", "a", "q.r"), ("a.q.r", "a", "q.r")):
            got = await ask(relay, "prompts/get", name=name, arguments={"k": "v"}, extra=[1])
            assert got == {"by": by, "params": {"name": own, "arguments": {"k": "v"}, "extra": [1]}}
        none = await ask(relay, "prompts/get", name="a__p", arguments=None)
        assert none["params"] == {"name": "p"}  # servers made with the TypeScript SDK refuse null
        with pytest.raises(PromptUnknown):
            await ask(relay, "prompts/get", name="c__p")
        ref = {"type": "ref/prompt", "name": "b__p", "title": "kept"}
        done = await ask(relay, "completion/complete", ref=ref, argument={"name": "k", "value": "v"})
        assert done["by"] == "b"
        assert done["params"]["ref"] == {**ref, "name": "p"}


async def test_a_uri_goes_to_whoever_lists_it_then_by_template_then_by_scheme() -> None:
    """relay.md 7 and 2025-11-25, Resource Links: listed, template, else the only backend with that scheme."""
    a = library("a", "file:///both", "file:///a", templates=("db://{table}",), prompts=())
    b = library("b", "file:///both", "file:///b", "web:x", templates=("db://users", "file:///b/{name}"))
    async with relaying(a=a, b=b) as relay:
        assert await listed(relay, RESOURCES) == ["file:///a", "file:///b", "file:///both", "web:x"]
        for uri, by in (
            ("file:///a", "a"),
            ("file:///b", "b"),
            ("file:///both", "a"),
            ("db://orders", "a"),
            ("db://users", "b"),
            ("db://{table}", "a"),
            ("file:///b/c", "b"),
            ("web:unlisted", "b"),
        ):
            assert await ask(relay, "resources/read", uri=uri) == {"by": by, "params": {"uri": uri}}
        for uri in ("file:///nowhere", "none", "mail:x"):
            with pytest.raises(ResourceUnknown):
                await ask(relay, "resources/read", uri=uri)
        done = await ask(relay, "completion/complete", ref={"type": "ref/resource", "uri": "db://{table}"})
        assert done["by"] == "a"
        statuses = {status.name: status for status in await relay.catalog.status(make_context())}
        assert statuses["b"].notes == ("resources: 'file:///both' is answered for by 'a'",)
        assert (statuses["a"].resources, statuses["a"].templates, statuses["b"].resources) == (2, 1, 3)


async def test_a_single_backend_is_asked_for_whatever_uri() -> None:
    """It may know URIs that it does not list; no list is fetched for that."""
    a = library("a", "x:1")
    async with relaying(a=a) as relay:
        assert (await ask(relay, "resources/read", uri="y:2"))["params"] == {"uri": "y:2"}
    assert a.calls("resources/list") == []


async def test_a_uri_that_a_backend_which_is_down_might_have_is_unavailable_and_not_unknown() -> None:
    """As with tools: the client is told to try later."""

    async def down(http: Http) -> None:
        await http.raw(500, b"")

    async with relaying(a=library("a", "x:1"), b=McpBackend(handlers={"initialize": down})) as relay:
        assert (await ask(relay, "resources/read", uri="x:1"))["by"] == "a"
        with pytest.raises(BackendUnavailable) as caught:
            await ask(relay, "resources/read", uri="y:1")
        assert caught.value.backend == "b"


async def test_a_backend_that_declares_no_prompts_is_not_asked_for_them() -> None:
    """MCP, Lifecycle: only what was negotiated is used; tools alone are asked for in any case."""
    plain = McpBackend()
    async with relaying(a=plain) as relay:
        assert await listed(relay, PROMPTS) == []
        assert await listed(relay, TEMPLATES) == []
        assert plain.calls("prompts/list") == []
        assert plain.calls("resources/templates/list") == []


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("prompts/get", {}, "params.name"),
        ("prompts/get", {"name": 7}, "params.name"),
        ("resources/read", {"uri": None}, "params.uri"),
        ("completion/complete", {}, "params.ref"),
        ("completion/complete", {"ref": {"type": "ref/x"}}, "params.ref.type"),
        ("completion/complete", {"ref": {"type": "ref/prompt"}}, "params.ref.name"),
    ],
)
async def test_parameters_that_cannot_be_routed_by_are_named(method: str, params: Any, field: str) -> None:
    """JSON-RPC 2.0 §5.1: -32602, and which field."""
    async with relaying(a=library("a"), b=library("b")) as relay:
        failure = await ask(relay, method, **params)
        assert isinstance(failure, Failure)
        assert failure.code == -32602
        assert field in failure.message


async def test_pages_of_one_kind_are_not_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.md 7: cursors belong to a list."""
    monkeypatch.setattr(view_room, "PAGE_ITEMS", 2)
    async with relaying(a=library("a", "x:1", "x:2", "x:3", prompts=("p", "q", "r"))) as relay:
        page = await relay.catalog.list_kind(make_context(), LEGACY, RESOURCES)
        assert page.next_cursor is not None
        rest = await relay.catalog.list_kind(make_context(), LEGACY, RESOURCES, cursor=page.next_cursor)
        assert [item["uri"] for item in json.loads(rest.raw)] == ["x:3"]
        with pytest.raises(CursorInvalid):
            await relay.catalog.list_kind(make_context(), LEGACY, PROMPTS, cursor=page.next_cursor)


async def test_what_is_recorded_of_a_read_has_no_secrets() -> None:
    """relay.md 9: audit rows have names; queries, fragments and user information are left out, completions too."""
    async with relaying(a=library("a", prompts=("p",))) as relay:
        await ask(relay, "resources/read", uri="https://ann:pw@h.example/p?token=1#x")
        await ask(relay, "completion/complete", ref={"type": "ref/prompt", "name": "a__p"})
        (event,) = relay.recorder.events
        assert (event["event"], event["target"], event["backend"]) == ("request.relayed", "https://h.example/p", "a")
        assert relay.recorder.outcomes == [("resources/read", "ok"), ("completion/complete", "ok")]


async def test_an_older_backend_serves_a_modern_caller_too() -> None:
    """relay.md 6: it is tried once whether it speaks 2026-07-28; then its own era is used, with its sessions."""
    a = library("a", "x:1")
    async with relaying(a=a) as relay:
        for _ in range(3):
            messages = relay.requests.relay(make_context(), MODERN, method="resources/read", params=b'{"uri":"x:1"}')
            (result,) = [message async for message in messages]
            assert isinstance(result, Result)
            assert not result.modern
        assert len(a.calls("server/discover")) == 1
