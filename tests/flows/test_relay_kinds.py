"""Prompts, resources, completion and the rest through /mcp: the official client and the official server, both eras."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.tenant import Naming, TenantContext
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.router import shelf as shelf_room
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.asgi import AsgiClient
from tests.support.clock import FakeClock
from tests.support.everything.server import EverythingServer, MemoryEvents
from tests.support.mcp_backends import App, Http, demo_backend, serve
from tests.support.relay_rooms import Relay, http_backend, make_context, open_relay, stdio_backend
from tests.support.runner import KEY, ROOT, RunnerProcess, running_runner
from tests.unit.mcp_endpoint.conftest import McpClient, ModernClient

Mode = Literal["legacy", "2026-07-28", "auto"]
NONE = Naming("none")


class OnlyModern:
    """A server in front of another that does not know `initialize`, as one that came after 2026-07-28 may be."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = await receive()
        if b'"initialize"' in message.get("body", b""):
            error = {"code": -32022, "message": "Unsupported protocol version"}
            body = json.dumps({"jsonrpc": "2.0", "id": json.loads(message["body"])["id"], "error": error}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        first = [message]

        async def replay() -> Any:
            return first.pop() if first else await receive()

        await self._app(scope, replay, send)


@asynccontextmanager
async def everything(*, modern: bool) -> AsyncIterator[str]:
    """The server with one of everything, over HTTP."""
    server = EverythingServer()
    app = server.streamable_http_app(event_store=MemoryEvents())
    async with server.session_manager.run(), serve(OnlyModern(app) if modern else app) as url:
        yield url


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One real runner for this file."""
    with running_runner(tmp_path_factory.mktemp("runner")) as process:
        yield process


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child may take its time to start on a busy machine; the first list waits for it here."""
    monkeypatch.setattr(shelf_room, "FIRST_LIST_WAIT", 30.0)


@pytest.fixture(params=["http", "modern-http", "stdio"])
def where(request: pytest.FixtureRequest) -> str:
    """How the server with one of everything is reached; it is the backend `every`."""
    return str(request.param)


@asynccontextmanager
async def open_backend(where: str) -> AsyncIterator[Backend]:
    """It is entered and left in the task of the test, which the SDK insists on."""
    if where == "stdio":
        module = ("-m", "tests.support.everything")
        name = f"every-{time.time_ns()}"
        yield stdio_backend("every", id=name, command=sys.executable, args=module, cwd=str(ROOT))
        return
    async with everything(modern=where == "modern-http") as url:
        yield http_backend(url, "every")


class Enter:
    """In place of the middleware."""

    def __init__(self, endpoint: McpEndpoint, ctx: TenantContext) -> None:
        self._endpoint = endpoint
        self._ctx = ctx

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["tenant_context"] = self._ctx
        await self._endpoint(scope, receive, send)


def endpoint_of(relay: Relay, clock: FakeClock) -> McpEndpoint:
    """The surface over a relay."""
    config = EndpointConfig(public_url="http://127.0.0.1")
    return McpEndpoint(relay.catalog, relay.calls, relay.requests, MemorySessionStore(clock), clock, config)


@asynccontextmanager
async def connected(
    where: str, clock: FakeClock, runner: RunnerProcess, mode: Mode, naming: Naming | None = None
) -> AsyncIterator[Client]:
    """The official client at a gateway with one backend."""
    async with (
        open_backend(where) as backend,
        open_relay([backend], clock=clock, runner=str(runner.socket), runner_key=KEY) as relay,
    ):
        app = Enter(endpoint_of(relay, clock), make_context(naming=naming))
        async with serve(app) as url, Client(streamable_http_client(f"{url}/mcp"), mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_prompts_are_listed_and_got_under_names_of_ours(
    where: str, clock: FakeClock, runner: RunnerProcess, mode: Mode
) -> None:
    """relay.md 6, 7, 8: prompts like tools, `<server>__<prompt>`."""
    async with connected(where, clock, runner, mode) as client:
        listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert "every__test_prompt_with_arguments" in listed
        arguments = listed["every__test_prompt_with_arguments"].arguments
        assert arguments is not None
        assert [argument.name for argument in arguments] == ["arg1", "arg2"]
        found = await client.get_prompt("every__test_prompt_with_arguments", {"arg1": "a", "arg2": "é"})
        assert isinstance(found, types.GetPromptResult)
        assert found.messages[0].content == types.TextContent(
            type="text", text="Prompt with arguments: arg1='a', arg2='é'"
        )
        with pytest.raises(MCPError) as missing:
            await client.get_prompt("every__test_prompt_with_arguments", {"arg1": "a"})
        assert missing.value.error.code == types.INVALID_PARAMS
        assert "arg2" in missing.value.error.message
        with pytest.raises(MCPError) as unknown:
            await client.get_prompt("every__nothing")
        assert (unknown.value.error.code, unknown.value.error.message) == (-32602, "Unknown prompt: every__nothing")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_resources_are_listed_and_read_under_their_own_uris(
    where: str, clock: FakeClock, runner: RunnerProcess, mode: Mode
) -> None:
    """relay.md 7: URIs stay what they are; text, binary, from a template, and one that there is not."""
    async with connected(where, clock, runner, mode) as client:
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert listed == ["test://static-binary", "test://static-text", "test://watched-resource"]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        assert templates == ["test://template/{id}/data"]
        for uri, part in (
            ("test://static-text", "static text resource"),
            ("test://static-binary", "iVBOR"),
            ("test://template/7/data", '"id": "7"'),
        ):
            read = await client.read_resource(uri)
            assert isinstance(read, types.ReadResourceResult)
            assert part in read.contents[0].model_dump_json().replace("\\", "")
        with pytest.raises(MCPError) as missing:
            await client.read_resource("test://nowhere")
        assert missing.value.error.data == {"uri": "test://nowhere"}
        if mode == "2026-07-28":
            assert missing.value.error.code == types.INVALID_PARAMS


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_arguments_are_completed_by_listed_name_and_by_template(
    where: str, clock: FakeClock, runner: RunnerProcess, mode: Mode
) -> None:
    """2025-11-25, Completion: ref/prompt by the name the client knows, ref/resource by its template."""
    async with connected(where, clock, runner, mode) as client:
        refs: list[types.PromptReference | types.ResourceTemplateReference] = [
            types.PromptReference(type="ref/prompt", name="every__test_prompt_with_arguments"),
            types.ResourceTemplateReference(type="ref/resource", uri="test://template/{id}/data"),
        ]
        for ref in refs:
            done = await client.complete(ref, {"name": "arg1", "value": "par"})
            assert done.completion.values == ["paris", "park", "party"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_without_prefix_a_single_backend_is_mirrored(
    where: str, clock: FakeClock, runner: RunnerProcess, mode: Mode
) -> None:
    """contract.md, naming.prefix none: names, capabilities and instructions are the backend's own."""
    async with connected(where, clock, runner, mode, NONE) as client:
        assert client.instructions == "One of everything in MCP."
        declared = client.server_capabilities
        assert declared is not None
        assert declared.prompts is not None
        assert declared.resources is not None
        assert declared.completions is not None
        assert "test_simple_prompt" in {prompt.name for prompt in (await client.list_prompts()).prompts}
        await client.get_prompt("test_simple_prompt")


async def test_lists_and_reads_of_2026_say_how_long_they_are_fresh_and_for_whom(clock: FakeClock) -> None:
    """2026-07-28, Caching: the shortest of the backends' times and our own, never shared between tokens."""
    for modern in (False, True):
        async with everything(modern=modern) as url, open_relay([http_backend(url, "every")], clock=clock) as relay:
            client = ModernClient(McpClient(AsgiClient(endpoint_of(relay, clock), {"tenant_context": make_context()})))
            for method in ("prompts/list", "resources/list", "resources/templates/list", "tools/list"):
                result = (await client.call(method)).json["result"]
                assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (10_000, "private", "complete")
            read = (await client.call("resources/read", {"uri": "test://static-text"})).json["result"]
            assert (read["ttlMs"], read["cacheScope"]) == (60_000, "private")


async def test_subscriptions_and_the_log_level_are_remembered_and_reach_the_backend(clock: FakeClock) -> None:
    """relay.md 2, 8: resources/subscribe, resources/unsubscribe and logging/setLevel of the handshake era."""
    async with everything(modern=False) as url, open_relay([http_backend(url, "every")], clock=clock) as relay:
        store = MemorySessionStore(clock)
        config = EndpointConfig(public_url="http://127.0.0.1")
        endpoint = McpEndpoint(relay.catalog, relay.calls, relay.requests, store, clock, config)
        client = McpClient(AsgiClient(endpoint, {"tenant_context": make_context()}))
        refused = await client.call("resources/subscribe", {"uri": "test://watched-resource"})
        assert refused.json["error"]["code"] == -32600
        opened = await client.call("initialize", {"protocolVersion": "2025-11-25"})
        session_id = opened.headers["mcp-session-id"]
        client.headers["mcp-session-id"] = session_id

        async def stored() -> tuple[frozenset[str], str | None]:
            found = await store.find(session_id, tenant_id="t1", user_id="u1", client_id="c1")
            assert found is not None
            return found.subscriptions, found.log_level

        for uri in ("test://watched-resource", "test://static-text"):
            assert (await client.call("resources/subscribe", {"uri": uri})).json["result"] == {}
        assert (await client.call("logging/setLevel", {"level": "warning"})).json["result"] == {}
        assert await stored() == (frozenset({"test://watched-resource", "test://static-text"}), "warning")
        assert (await client.call("resources/unsubscribe", {"uri": "test://static-text"})).json["result"] == {}
        assert await stored() == (frozenset({"test://watched-resource"}), "warning")
        wrong = await client.call("logging/setLevel", {"level": "loud"})
        assert wrong.json["error"]["code"] == -32602


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")  # of the server in this process
@pytest.mark.parametrize("modern", [False, True])
async def test_a_client_hears_only_the_log_messages_it_asked_for(clock: FakeClock, modern: bool) -> None:
    """2025-11-25, Logging; 2026-07-28: without `logLevel` in `_meta` none at all."""
    async with everything(modern=modern) as url, open_relay([http_backend(url, "every")], clock=clock) as relay:
        endpoint = endpoint_of(relay, clock)
        legacy = McpClient(AsgiClient(endpoint, {"tenant_context": make_context()}))
        call = {"name": "every__test_tool_with_logging", "arguments": {}}

        async def levels(reply: Any) -> list[str]:
            events = reply.events if reply.is_stream else [reply.json]
            assert "result" in events[-1]
            return [event["params"]["level"] for event in events[:-1] if event["method"] == "notifications/message"]

        opened = await legacy.call("initialize", {"protocolVersion": "2025-11-25"})
        legacy.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        for level, heard in (("error", False), ("debug", True)):
            await legacy.call("logging/setLevel", {"level": level})
            assert bool(await levels(await legacy.call("tools/call", call))) is heard

        client = ModernClient(McpClient(AsgiClient(endpoint, {"tenant_context": make_context()})))
        assert await levels(await client.call("tools/call", call)) == []
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/logLevel": "info",
        }
        assert await levels(await client.call("tools/call", {**call, "_meta": meta}))


async def test_what_the_gateway_does_not_know_reaches_the_only_backend_raw(clock: FakeClock) -> None:
    """relay.md 8: unknown extension methods and notifications of a single-backend tenant; with two it is no guess."""

    async def extension(http: Http) -> None:
        await http.result({"vendor": [1.0, None], "got": http.params})

    heard = asyncio.Event()

    async def hear(http: Http) -> None:
        await http.raw(202, b"")
        heard.set()

    demo = demo_backend(handlers={'vendor/do "it"': extension, "notifications/vendor": hear})
    async with (
        serve(demo) as url,
        open_relay([http_backend(url), http_backend(url, "b", tenant_id="t2")], clock=clock) as relay,
    ):
        endpoint = endpoint_of(relay, clock)
        for ctx in (make_context(), make_context("t2")):
            client = McpClient(AsgiClient(endpoint, {"tenant_context": ctx}))
            reply = await client.call('vendor/do "it"', {"x": {"y": 1.50}, "_meta": {"a/b": 1}})
            assert reply.json["result"] == {"vendor": [1.0, None], "got": {"x": {"y": 1.5}, "_meta": {"a/b": 1}}}
            assert b"1.50" not in reply.body
        opened = await client.call("initialize", {"protocolVersion": "2025-11-25"})
        client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        await client.post({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {"a": 1}})
        async with asyncio.timeout(5):
            await heard.wait()
        assert demo.calls("notifications/vendor")[0][0]["params"] == {"a": 1}
        modern = ModernClient(client)
        assert (await modern.call('vendor/do "it"', {"x": 1})).json["result"]["resultType"] == "complete"
        assert (await modern.call("resources/subscribe", {"uri": "a://b"})).status == 404

        relay.backends.append(http_backend(url, "second"))
        clock.advance(2)
        client = McpClient(AsgiClient(endpoint, {"tenant_context": make_context()}))
        assert (await client.call('vendor/do "it"')).json["error"]["code"] == -32601
        assert (await ModernClient(client).call("vendor/other")).status == 404
