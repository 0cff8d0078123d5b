"""Streams that break, through two workers with Redis between them: what was missed is read at the other worker."""

import asyncio
import json

import pytest

from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits
from gateway_proxy.mcp_endpoint.loopback import Loopback
from gateway_proxy.sessions.event_log import LogName
from gateway_proxy.sessions.redis_event_log import RedisEventLog
from gateway_proxy.sessions.redis_mailbox import PRESENCE_SECONDS
from gateway_proxy.storage.redis.client import open_redis
from gateway_proxy.storage.redis.keys import workers_key
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, text
from tests.support.mcp_workers import open_workers
from tests.support.relay_rooms import http_backend, make_context
from tests.unit.mcp_endpoint.conftest import request
from tests.unit.mcp_endpoint.test_kept_streams import events, read_events


def polling_backend(release: asyncio.Event) -> McpBackend:
    """Its tool `polls` hangs up before the result and gives it to whoever comes back (SEP-1699)."""
    backend = demo_backend()
    waiting: dict[str, object] = {}

    async def polls(http: Http) -> None:
        waiting["id"] = http.message["id"]
        await http.stream(b"id: up-1\nretry: 10\ndata: \n\n")
        await http.end()

    async def resume(http: Http) -> None:
        if http.headers.get("last-event-id") != "up-1":
            await http.raw(405, b"")
            return
        await release.wait()
        await http.event({"jsonrpc": "2.0", "id": waiting["id"], "result": text("polled")}, event_id="up-2")
        await http.end()

    async def slow(http: Http) -> None:
        await http.progress(1)
        await release.wait()
        await http.progress(2)
        await http.result(text("slow"))

    async def mute(http: Http) -> None:
        await release.wait()
        await http.result(text("spoken"))

    backend.tools.update(polls=polls, slow=slow, mute=mute)
    backend.handlers["GET"] = resume
    return backend


async def test_a_backend_that_polls_is_polled_by_our_client_at_another_worker(redis_url: str, clock: FakeClock) -> None:
    """The conformance scenario server-sse-polling, with the reconnection at the other worker."""
    release = asyncio.Event()
    async with (
        serve(polling_backend(release)) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session()
        begun = first.client(session_id=session_id).begin(request("tools/call", {"name": "calc__polls"}))
        [primed] = await read_events(begun, 1)
        assert (primed.data, primed.retry) == (None, 1000)
        while begun.seen[-1].get("more_body", True):
            await begun.next()
        resumed = second.client(session_id=session_id).open("GET", last_event_id=primed.id)
        await resumed.until_body(b": ping")
        release.set()
        [final] = events((await resumed.reply()).body)
        assert final.data["result"]["content"][0]["text"] == "polled"
        assert final.data["id"] == 1


async def test_a_stream_that_broke_is_read_to_its_end_at_another_worker(redis_url: str, clock: FakeClock) -> None:
    """issue 3: Last-Event-ID resumption, any worker; Redis holds nothing before the client has left."""
    release = asyncio.Event()
    redis = open_redis(redis_url)
    async with (
        serve(polling_backend(release)) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session()
        params = {"name": "calc__slow", "_meta": {"progressToken": "t"}}
        begun = first.client(session_id=session_id).begin(request("tools/call", params, request_id="s"))
        seen = await read_events(begun, 2)
        assert not await redis.keys("*:events:*")
        begun.hang_up()
        resumed = second.client(session_id=session_id).open("GET", last_event_id=seen[-1].id)
        await resumed.until_body(b": ping")
        release.set()
        progress, final = events((await resumed.reply()).body)
        assert progress.data["params"] == {"progressToken": "t", "progress": 2}
        assert final.data["id"] == "s"
        async with asyncio.timeout(5):
            await begun.task
        for key in await redis.keys("*:events:*"):
            assert await redis.pttl(key) > 0
    await redis.aclose()


async def test_what_belongs_to_no_call_reaches_the_session_from_any_worker(redis_url: str, clock: FakeClock) -> None:
    """relay.md 3: written at one worker, read on the stream that another holds, and again after a reconnection."""
    redis = open_redis(redis_url)
    async with (
        serve(demo_backend()) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
        RedisEventLog(redis) as third,
    ):
        session_id = await first.open_session()
        stream = second.client(session_id=session_id).open("GET")
        await read_events(stream, 1)
        await third.tell(LogName("t1", session_id), b'{"jsonrpc":"2.0","method":"notifications/message"}')
        told = (await read_events(stream, 2))[1]
        assert told.data["method"] == "notifications/message"
        stream.hang_up()
        async with asyncio.timeout(5):
            await stream.task
        await third.tell(LogName("t1", session_id), b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
        resumed = first.client(session_id=session_id).open("GET", last_event_id=told.id)
        assert [event.data["params"] for event in await read_events(resumed, 1)] == [{}]
        resumed.hang_up()
        async with asyncio.timeout(5):
            await resumed.task
    await redis.aclose()


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_a_dead_worker_is_a_clear_error_and_not_a_second_run(
    redis_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, says_goodbye: bool
) -> None:
    """relay.md 6, security F1: the worker that read the call's stream is gone, and the call with it.

    One that was killed has not said so, and is on the list of workers for a while.
    """
    monkeypatch.setattr("gateway_proxy.mcp_endpoint.listening.TAKEN_SECONDS", 0.3)
    redis = open_redis(redis_url)
    release = asyncio.Event()
    backend = polling_backend(release)
    async with (
        serve(backend) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session()
        params = {"name": "calc__slow", "_meta": {"progressToken": "t"}}
        begun = first.client(session_id=session_id).begin(request("tools/call", params, request_id="s"))
        seen = await read_events(begun, 2)
        begun.task.cancel()
        await asyncio.gather(begun.task, return_exceptions=True)
        await first.stack.aclose()
        if not says_goodbye:
            worker_id = first.endpoint._parked_calls.worker_id
            await redis.zadd(workers_key(), {worker_id: clock.now().timestamp() + PRESENCE_SECONDS})
        resumed = second.client(session_id=session_id).open("GET", last_event_id=seen[-1].id)
        [error] = events((await resumed.reply()).body)
        assert error.data["id"] == "s"
        assert error.data["error"]["code"] == -32000
        assert len(backend.calls("tools/call")) == 1
    await redis.aclose()


async def test_a_stream_that_has_lasted_its_time_is_left_and_come_back_to(redis_url: str, clock: FakeClock) -> None:
    """GATEWAY_STREAM_TTL: calls and the session's own stream, for clients that can come back and for no others."""
    release = asyncio.Event()
    limits = EndpointLimits(attend_after=0.05, tick=0.05, silence=600.0, heartbeat=600.0, stream_seconds=2.0)
    config = EndpointConfig(public_url="http://127.0.0.1", limits=limits)
    async with (
        serve(polling_backend(release)) as url,
        open_workers(redis_url, [http_backend(url)], clock, config=config) as (first, second),
    ):
        session_id = await first.open_session()
        older = await first.open_session(version="2025-06-18")
        call = request("tools/call", {"name": "calc__slow", "_meta": {"progressToken": "t"}})
        begun = first.client(session_id=session_id).begin(call)
        kept = first.client(session_id=older).begin(call)
        silent = first.client(session_id=session_id).begin(request("tools/call", {"name": "calc__mute"}, request_id=2))
        listening = first.client(session_id=session_id).open("GET")
        await read_events(begun, 2)
        await kept.until_body(b"notifications/progress")
        await read_events(listening, 1)
        await asyncio.sleep(0.2)
        assert not any(each.task.done() for each in (begun, silent, listening))
        clock.advance(2.0)
        for conversation in (begun, silent, listening):
            while not conversation.seen or conversation.seen[-1].get("more_body", True):
                await conversation.next()
        assert b"retry: 1000\n\n" in listening.seen[-1]["body"]
        [primed] = events(b"".join(message.get("body", b"") for message in silent.seen))
        assert (primed.data, primed.retry) == (None, 1000)
        resumed = second.client(session_id=session_id).open("GET", last_event_id=(await read_events(begun, 2))[1].id)
        of_silent = second.client(session_id=session_id).open("GET", last_event_id=primed.id)
        release.set()
        progress, final = events((await resumed.reply()).body)
        assert progress.data["method"] == "notifications/progress"
        assert final.data["result"]["content"][0]["text"] == "slow"
        [spoken] = events((await of_silent.reply()).body)
        assert (spoken.data["id"], spoken.data["result"]["content"][0]["text"]) == (2, "spoken")
        assert b'"slow"' in (await kept.reply()).body


@pytest.mark.parametrize("version", ["2025-11-25", "2024-11-05"])
async def test_what_a_polling_backend_says_reaches_a_client_that_cannot_come_back(
    redis_url: str, clock: FakeClock, version: str
) -> None:
    """stdio and HTTP+SSE have one stream: nothing may wait for the client behind it."""
    release, said = asyncio.Event(), asyncio.Queue[bytes]()
    release.set()
    async with (
        serve(polling_backend(release)) as url,
        open_workers(redis_url, [http_backend(url)], clock, count=1) as (worker,),
        asyncio.timeout(10),
    ):
        session_id = await worker.open_session(version=version)
        loopback = Loopback(worker.endpoint, make_context())
        body = json.dumps(request("tools/call", {"name": "calc__polls"})).encode()
        await loopback.exchange("POST", body, (), said.put, session_id=session_id)
        assert b'"polled"' in said.get_nowait()
        assert said.empty()
