"""Answers that take their time: streams, heartbeats, clients that leave, cancel or do not read."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.domain.errors import BackendUnavailable, StorageUnavailable
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits
from gateway_proxy.router.messages import Notification, ServerRequest
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.asgi import AsgiClient
from tests.support.clock import FakeClock
from tests.support.fake_router import FakeCatalog, FakeRequests, FakeToolCalls
from tests.unit.mcp_endpoint.conftest import ECHO, PROGRESS, Connect, McpClient, ModernClient, context, request


@pytest.fixture
def release(calls: FakeToolCalls) -> asyncio.Event:
    """Lets the tool `slow` go on."""
    event = asyncio.Event()

    async def wait() -> None:
        await event.wait()

    calls.scripts["slow"] = [wait, ECHO]
    calls.scripts["slow_progress"] = [PROGRESS, wait, ECHO]
    return event


async def test_progress_turns_the_answer_into_a_stream(client: McpClient) -> None:
    """MCP 2025-11-25, Sending Messages 6; proxies are asked not to buffer."""
    reply = await client.call("tools/call", {"name": "progress"})

    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["cache-control"].startswith("no-cache")
    progress, result = reply.events
    assert progress["method"] == "notifications/progress"
    assert result["id"] == 1
    assert PROGRESS.raw in reply.body
    assert ECHO.raw in reply.body


async def test_progress_streams_on_the_modern_leg_too(modern: ModernClient) -> None:
    """MCP 2026-07-28, Streamable HTTP."""
    reply = await modern.call("tools/call", {"name": "progress"})
    assert [each.get("method") for each in reply.events] == ["notifications/progress", None]
    assert reply.events[1]["result"]["resultType"] == "complete"


async def test_a_client_that_takes_no_stream_gets_the_result_alone(client: McpClient) -> None:
    """It did not ask for more."""
    reply = await client.call("tools/call", {"name": "progress"}, accept="application/json")
    assert reply.json["result"]["content"] == [{"type": "text", "text": "hi"}]


async def test_line_breaks_between_tokens_stay_in_one_event(client: McpClient, calls: FakeToolCalls) -> None:
    """HTML §9.2.6: a raw line break would end the event's line."""
    calls.scripts["t"] = [Notification(b'{"jsonrpc":"2.0",\r\n"method":"notifications/message"\n}'), ECHO]
    reply = await client.call("tools/call", {"name": "t"})
    assert reply.events[0]["method"] == "notifications/message"
    assert len(reply.events) == 2


async def test_a_question_to_the_client_is_refused_and_the_call_goes_on(
    client: McpClient, calls: FakeToolCalls
) -> None:
    """relay.md 3: never guessed, never left waiting."""
    answers: list[bytes] = []

    async def take(answer: bytes) -> None:
        answers.append(answer)

    calls.scripts["asks"] = [ServerRequest("roots/list", None, take), ECHO]
    reply = await client.call("tools/call", {"name": "asks"})
    assert reply.json["result"]
    assert answers == [b'"error":{"code":-32601,"message":"the client cannot be asked"}']


async def test_an_error_after_progress_ends_the_stream(client: McpClient, calls: FakeToolCalls) -> None:
    """The status is long sent; the error is the last event."""
    calls.scripts["t"] = [PROGRESS, BackendUnavailable("calc")]
    reply = await client.call("tools/call", {"name": "t"}, request_id="x")
    assert reply.status == 200
    assert (reply.events[1]["id"], reply.events[1]["error"]["code"]) == ("x", -32000)


async def test_a_silent_call_becomes_a_stream_with_heartbeats(client: McpClient, release: asyncio.Event) -> None:
    """mcp.md §2: keep-alive comments, so that no proxy cuts a long call."""
    conversation = client.begin(request("tools/call", {"name": "slow"}))
    for _ in range(3):
        await conversation.until_body(b": ping\n\n")
    release.set()
    reply = await conversation.reply()
    assert reply.headers["content-type"] == "text/event-stream"
    assert [each["id"] for each in reply.events] == [1]


async def test_a_silent_call_of_a_client_without_streams_waits(client: McpClient, release: asyncio.Event) -> None:
    """Nothing can be sent before the answer."""
    conversation = client.begin(request("tools/call", {"name": "slow"}), accept="application/json")
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.1):
            await conversation.outbox.get()
    release.set()
    assert (await conversation.reply()).json["result"]


@pytest.mark.parametrize("tool", ["slow", "slow_progress"])
async def test_a_client_that_hangs_up_cancels_upstream(
    client: McpClient, calls: FakeToolCalls, release: asyncio.Event, tool: str
) -> None:
    """relay.md 8: the closed stream reaches the backend."""
    conversation = client.begin(request("tools/call", {"name": tool}), accept="text/event-stream, application/json")
    await calls.started.wait()
    conversation.hang_up()
    async with asyncio.timeout(5):
        await conversation.task
    assert calls.closed == [tool]
    assert not release.is_set()


async def test_a_cancelled_notification_cancels_the_call_of_that_id(
    in_session: McpClient, calls: FakeToolCalls, release: asyncio.Event
) -> None:
    """MCP 2025-11-25, Cancellation; the HTTP exchange still needs an end."""
    conversations = [
        in_session.begin(request("tools/call", {"name": "slow_progress"}, request_id=each)) for each in (1, "1")
    ]
    for each in conversations:
        await each.until_body(b"progress")
    await in_session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})

    cancelled = await conversations[0].reply()
    assert (cancelled.events[-1]["id"], cancelled.events[-1]["error"]["code"]) == (1, -32800)
    assert calls.closed == ["slow_progress"]
    release.set()
    assert (await conversations[1].reply()).events[-1]["result"]


async def test_a_call_cancelled_before_its_answer_began_is_answered_too(
    in_session: McpClient, calls: FakeToolCalls, release: asyncio.Event
) -> None:
    """The same without a stream."""
    conversation = in_session.begin(request("tools/call", {"name": "slow"}), accept="application/json")
    await calls.started.wait()
    await in_session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    reply = await conversation.reply()
    assert (reply.status, reply.json["error"]["code"]) == (200, -32800)
    assert not release.is_set()


@pytest.mark.parametrize("params", [{"requestId": 1}, {"requestId": True}, {}, {"requestId": {"x": 1}}])
async def test_nobody_cancels_the_call_of_another_session(
    in_session: McpClient, connect: Connect, release: asyncio.Event, calls: FakeToolCalls, params: Any
) -> None:
    """Ids are unique per session only."""
    conversation = in_session.begin(request("tools/call", {"name": "slow"}))
    await calls.started.wait()
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    other = connect(context(user="bob"))
    opened = await other.call("initialize", {})
    await other.post(note, mcp_session_id=opened.headers["mcp-session-id"])
    await other.post(note)
    if params != {"requestId": 1}:
        await in_session.post(note)
    release.set()
    assert (await conversation.reply()).status == 200


async def test_delete_ends_the_calls_and_streams_of_the_session(
    in_session: McpClient, calls: FakeToolCalls, release: asyncio.Event
) -> None:
    """Nothing of an ended session goes on."""
    call = in_session.begin(request("tools/call", {"name": "slow"}), accept="application/json")
    stream = in_session.open("GET")
    await stream.until_body(b": ping")
    await calls.started.wait()
    assert (await in_session.send("DELETE")).status == 204

    assert (await call.reply()).status == 404
    assert (await stream.reply()).events == []
    assert calls.closed == ["slow"]
    assert not release.is_set()


async def test_a_get_stream_lives_until_its_client_leaves(in_session: McpClient) -> None:
    """MCP 2025-11-25, Listening for Messages."""
    stream = in_session.open("GET")
    for _ in range(3):
        await stream.until_body(b": ping\n\n")
    assert not stream.task.done()
    stream.hang_up()
    async with asyncio.timeout(5):
        await stream.task


async def test_a_user_may_hold_a_bounded_number_of_streams(in_session: McpClient) -> None:
    """Security D3."""
    streams = [in_session.open("GET") for _ in range(2)]
    for stream in streams:
        await stream.until_body(b": ping")
    refused = await in_session.send("GET")
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    streams[0].hang_up()
    async with asyncio.timeout(5):
        await streams[0].task
    again = in_session.open("GET")
    await again.until_body(b": ping")
    for stream in (streams[1], again):
        stream.hang_up()
        await stream.task


async def test_a_stream_ends_when_its_token_is_revoked(in_session: McpClient, welcome: dict[str, bool]) -> None:
    """Security RS2."""
    stream = in_session.open("GET")
    await stream.until_body(b": ping")
    welcome["value"] = False
    reply = await stream.reply()
    assert reply.events == []


async def test_a_streaming_call_ends_when_its_token_is_revoked(
    client: McpClient, calls: FakeToolCalls, release: asyncio.Event, welcome: dict[str, bool]
) -> None:
    """Security RS2, with a reason."""
    call = client.begin(request("tools/call", {"name": "slow_progress"}))
    await call.until_body(b"progress")
    welcome["value"] = False
    reply = await call.reply()
    assert "no longer valid" in reply.events[-1]["error"]["message"]
    assert calls.closed == ["slow_progress"]
    assert not release.is_set()


async def test_a_stream_ends_when_its_session_was_ended_elsewhere(
    in_session: McpClient, sessions: MemorySessionStore
) -> None:
    """relay.md 3: a DELETE on another worker is seen here at the next look."""
    stream = in_session.open("GET")
    await stream.until_body(b": ping")
    await sessions.end(in_session.headers["mcp-session-id"], tenant_id="acme")
    await stream.reply()


async def test_a_worker_that_stops_tells_streams_to_come_back(in_session: McpClient, endpoint: McpEndpoint) -> None:
    """Security O3."""
    stream = in_session.open("GET")
    await stream.until_body(b": ping")
    endpoint.close_streams()
    reply = await stream.reply()
    assert reply.body.endswith(b"retry: 1000\n\n")


async def test_a_reader_that_does_not_read_is_dropped(
    catalog: FakeCatalog, calls: FakeToolCalls, sessions: MemorySessionStore, clock: FakeClock, config: EndpointConfig
) -> None:
    """Security D3: a slow reader holds neither the worker nor the backend for ever."""
    calls.scripts["flood"] = [PROGRESS] * 10
    blocked = asyncio.Event()

    async def send(message: Any) -> None:
        if b"progress" in message.get("body", b""):
            blocked.set()
            await asyncio.Event().wait()

    inbox: asyncio.Queue[Any] = asyncio.Queue()
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"flood"}}'
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/json")],
        "state": {"tenant_context": context()},
    }
    endpoint = McpEndpoint(catalog, calls, FakeRequests(), sessions, clock, config)
    task = asyncio.create_task(endpoint(scope, inbox.get, send))
    await blocked.wait()
    clock.advance(31)
    async with asyncio.timeout(5):
        await task
    assert calls.closed == ["flood"]


async def test_a_cancellation_from_the_server_is_not_swallowed(
    client: McpClient, calls: FakeToolCalls, release: asyncio.Event
) -> None:
    """Only what we stopped ourselves ends quietly."""
    conversation = client.begin(request("tools/call", {"name": "slow"}))
    await calls.started.wait()
    conversation.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await conversation.task
    assert calls.closed == ["slow"]
    assert not release.is_set()


async def test_a_quick_call_starts_no_task(
    catalog: FakeCatalog, calls: FakeToolCalls, sessions: MemorySessionStore, clock: FakeClock, config: EndpointConfig
) -> None:
    """performance.md: nothing on the hot path that is not needed."""
    patient = replace(config, limits=EndpointLimits())
    endpoint = McpEndpoint(catalog, calls, FakeRequests(), sessions, clock, patient)
    client = McpClient(AsgiClient(endpoint, {"tenant_context": context()}))
    before = asyncio.all_tasks()
    conversation = client.begin(request("tools/call", {"name": "echo"}))
    while not conversation.task.done():
        assert asyncio.all_tasks() - before <= {conversation.task}
        await asyncio.sleep(0)
    assert (await conversation.reply()).status == 200


async def test_nothing_is_left_behind(
    endpoint: McpEndpoint, in_session: McpClient, calls: FakeToolCalls, release: asyncio.Event
) -> None:
    """Security F13: tasks and registries are back to where they were."""
    before = asyncio.all_tasks()
    calls_under_way = [in_session.begin(request("tools/call", {"name": "slow"}, request_id=n)) for n in range(20)]
    await calls.started.wait()
    for n, each in enumerate(calls_under_way):
        if n % 2:
            each.hang_up()
    release.set()
    for each in calls_under_way:
        async with asyncio.timeout(5):
            await each.task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    assert endpoint.calls_under_way == 0


async def test_a_fault_in_the_attendant_ends_the_call_and_is_not_swallowed(
    catalog: FakeCatalog,
    calls: FakeToolCalls,
    sessions: MemorySessionStore,
    clock: FakeClock,
    config: EndpointConfig,
    release: asyncio.Event,
) -> None:
    """Without an attendant a call would outlive its client; the fault goes up to the boundary that logs it."""

    async def broken(_: Any) -> bool:
        raise ArithmeticError

    endpoint = McpEndpoint(catalog, calls, FakeRequests(), sessions, clock, config, is_still_welcome=broken)
    client = McpClient(AsgiClient(endpoint, {"tenant_context": context()}))
    conversation = client.begin(request("tools/call", {"name": "slow_progress"}))
    with pytest.raises(ArithmeticError):
        async with asyncio.timeout(5):
            await conversation.task
    assert calls.closed == ["slow_progress"]
    assert not release.is_set()


async def test_a_token_that_cannot_be_looked_up_is_trusted_for_a_while_only(
    catalog: FakeCatalog,
    calls: FakeToolCalls,
    sessions: MemorySessionStore,
    clock: FakeClock,
    config: EndpointConfig,
    release: asyncio.Event,
) -> None:
    """Security O4: an outage of the database ends no stream at once, and leaves none unchecked for ever."""

    async def away(_: Any) -> bool:
        raise StorageUnavailable

    endpoint = McpEndpoint(catalog, calls, FakeRequests(), sessions, clock, config, is_still_welcome=away)
    client = McpClient(AsgiClient(endpoint, {"tenant_context": context()}))
    conversation = client.begin(request("tools/call", {"name": "slow_progress"}))
    for _ in range(3):
        await conversation.until_body(b": ping")
    clock.advance(31)
    assert "no longer valid" in (await conversation.reply()).events[-1]["error"]["message"]
    assert not release.is_set()
