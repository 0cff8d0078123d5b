"""What backends say outside of calls, all the way to clients of both eras, through two workers with Redis between."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.backends import ear as ear_room
from gateway_proxy.router import announcements as announcements_room
from tests.flows.test_relay_announcements import TOOLS_CHANGED, Speaker
from tests.support.asgi import Conversation
from tests.support.clock import FakeClock
from tests.support.mcp_backends import demo_backend, echo, serve
from tests.support.mcp_workers import CONFIG, McpWorker, open_workers
from tests.support.relay_rooms import http_backend, make_context
from tests.unit.mcp_endpoint.test_kept_streams import Event, events, read_events

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second is waited for that does not matter."""
    monkeypatch.setattr(ear_room, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(ear_room, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(announcements_room, "LOOK_SECONDS", 0.02)


@asynccontextmanager
async def scene(redis_url: str, clock: FakeClock) -> AsyncIterator[tuple[Speaker, list[McpWorker]]]:
    """A backend that talks, and two workers whose lists have settled."""
    backend = demo_backend()
    config = replace(CONFIG, limits=replace(CONFIG.limits, linger_seconds=30.0))
    async with (
        serve(backend) as url,
        open_workers(redis_url, [http_backend(url)], clock, config=config) as workers,
    ):
        speaker = Speaker(backend)
        for worker in workers:
            await worker.relay.names()
        yield speaker, workers


async def hear(conversation: Conversation, method: str) -> Event:
    """The first event with this method."""
    count = 1
    while True:
        found = await read_events(conversation, count)
        for event in found:
            if event.data is not None and event.data.get("method") == method:
                return event
        count = len(found) + 1


async def leave(conversation: Conversation) -> None:
    """Hang up."""
    conversation.hang_up()
    async with asyncio.timeout(5):
        await conversation.task


async def test_a_changed_list_is_told_on_the_session_stream_and_the_new_one_is_there(
    redis_url: str, clock: FakeClock
) -> None:
    """relay.md 7: the backend says so; whoever lists on hearing of it gets the new list."""
    async with scene(redis_url, clock) as (speaker, (first, second)):
        session_id = await first.open_session()
        stream = second.client(session_id=session_id).open("GET")
        await speaker.opened.acquire()
        speaker.backend.tools["new"] = echo
        clock.advance(2)
        speaker.say(TOOLS_CHANGED)
        event = await hear(stream, TOOLS_CHANGED)
        assert event.id
        listed = await second.client(session_id=session_id).call("tools/list")
        assert b"calc__new" in listed.body
        await leave(stream)


async def test_a_removed_backend_changes_the_list_of_its_tenant_only(redis_url: str, clock: FakeClock) -> None:
    """issue 3: an edit of the definitions is news for sessions of this tenant and of no other."""
    async with scene(redis_url, clock) as (speaker, (first, second)):
        theirs = make_context("t2", "u2")
        session_id, other_id = await first.open_session(), await first.open_session(ctx=theirs)
        stream = second.client(session_id=session_id).open("GET")
        other = second.client(theirs, other_id).open("GET")
        await speaker.opened.acquire()
        await other.until_body(b": ping")
        second.relay.backends.clear()
        clock.advance(10)
        await hear(stream, TOOLS_CHANGED)
        await leave(stream)
        await leave(other)
        said = b"".join(message.get("body", b"") for message in other.seen)
        assert TOOLS_CHANGED.encode() not in said


async def test_updates_and_log_messages_reach_the_session_that_subscribed_at_another_worker(
    redis_url: str, clock: FakeClock
) -> None:
    """relay.md 3: subscriptions belong to the session, not to the worker."""
    async with scene(redis_url, clock) as (speaker, (first, second)):
        session_id = await first.open_session()
        stream = second.client(session_id=session_id).open("GET")
        await speaker.opened.acquire()
        await first.client(session_id=session_id).call("resources/subscribe", {"uri": "file:///a"})
        async with asyncio.timeout(10):
            while not await _is_heard(speaker, stream, "file:///a"):
                pass
        speaker.say("notifications/message", level="error", data="x")
        assert (await hear(stream, "notifications/message")).data["params"] == {"level": "error", "data": "x"}
        await leave(stream)


async def _is_heard(speaker: Speaker, stream: Conversation, uri: str) -> bool:
    """Say that a resource was updated; whether the stream has told so by now."""
    speaker.say("notifications/resources/updated", uri=uri)
    await asyncio.sleep(0.1)
    while not stream.outbox.empty():
        await stream.next()
    found = events(b"".join(message.get("body", b"") for message in stream.seen))
    return any(event.data and event.data.get("params", {}).get("uri") == uri for event in found)


async def test_what_is_said_while_a_client_is_away_is_told_when_it_comes_back(redis_url: str, clock: FakeClock) -> None:
    """issue 3: Last-Event-ID on another worker than the one that gathered meanwhile, and nothing twice."""
    async with scene(redis_url, clock) as (speaker, (first, second)):
        session_id = await first.open_session()
        stream = first.client(session_id=session_id).open("GET")
        [primed] = await read_events(stream, 1)
        await speaker.opened.acquire()
        await leave(stream)
        speaker.say("notifications/message", level="error", data="away")
        await asyncio.sleep(0.1)
        resumed = second.client(session_id=session_id).open("GET", last_event_id=primed.id)
        told = await hear(resumed, "notifications/message")
        assert told.data["params"]["data"] == "away"
        await speaker.opened.acquire()
        async with asyncio.timeout(5):
            while len(speaker.streams) > 1:  # the first worker has stopped to gather
                await asyncio.sleep(0.01)
        speaker.say("notifications/message", level="error", data="back")
        await asyncio.sleep(0.2)
        while not resumed.outbox.empty():
            await resumed.next()
        said = [event.data for event in events(b"".join(each.get("body", b"") for each in resumed.seen)) if event.data]
        assert [each["params"]["data"] for each in said if each["method"] == "notifications/message"] == [
            "away",
            "back",
        ]
        await leave(resumed)


async def test_a_modern_client_listens_to_what_it_asked_for(redis_url: str, clock: FakeClock) -> None:
    """MCP 2026-07-28, subscriptions/listen: ack first, everything tagged, nothing that was not asked for."""
    async with scene(redis_url, clock) as (speaker, (first, _)):
        wanted = {"toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": ["file:///a"]}
        stream = first.modern().begin("subscriptions/listen", {"notifications": wanted}, request_id="sub")
        [ack] = await read_events(stream, 1)
        assert ack.data == {
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {
                "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["file:///a"]},
                "_meta": {SUBSCRIPTION: "sub"},
            },
        }
        await speaker.opened.acquire()
        speaker.say("notifications/message", level="error", data="x")
        speaker.say("notifications/resources/updated", uri="file:///b")
        speaker.say("notifications/resources/updated", uri="file:///a", **{"x-vendor": 1})
        updated = (await hear(stream, "notifications/resources/updated")).data["params"]
        assert updated == {"uri": "file:///a", "x-vendor": 1, "_meta": {SUBSCRIPTION: "sub"}}
        speaker.backend.tools["new"] = echo
        clock.advance(2)
        speaker.say(TOOLS_CHANGED)
        assert (await hear(stream, TOOLS_CHANGED)).data["params"] == {"_meta": {SUBSCRIPTION: "sub"}}
        first.endpoint.close_streams()
        last = (await stream.reply()).events[-1]
        assert last == {
            "jsonrpc": "2.0", "id": "sub", "result": {"resultType": "complete", "_meta": {SUBSCRIPTION: "sub"}},
        }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "accept", "status", "code"),
    [
        ({}, None, 400, -32602),
        ({"notifications": {"toolsListChanged": 1}}, None, 400, -32602),
        ({"notifications": {"resourceSubscriptions": ["a:" + "x" * 9000]}}, None, 400, -32602),
        ({"notifications": {}}, "application/json", 406, -32600),
    ],
)
async def test_a_filter_that_cannot_be_read_is_refused(
    redis_url: str, clock: FakeClock, params: Any, accept: str | None, status: int, code: int
) -> None:
    """Bad input: a clear error that names the field."""
    async with scene(redis_url, clock) as (_, (first, _)):
        headers = {} if accept is None else {"accept": accept}
        reply = await first.modern().call("subscriptions/listen", params, **headers)
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)


async def test_nothing_is_left_when_a_session_ends(redis_url: str, clock: FakeClock) -> None:
    """issue 3: tasks and upstream streams return to base, at once with a DELETE at another worker."""
    async with scene(redis_url, clock) as (speaker, (first, second)):
        session_id = await first.open_session()
        stream = first.client(session_id=session_id).open("GET")
        await speaker.opened.acquire()
        assert (await second.client(session_id=session_id).send("DELETE")).status == 204
        async with asyncio.timeout(10):
            await stream.task
            while speaker.streams or len(first.endpoint._news):
                await asyncio.sleep(0.02)
