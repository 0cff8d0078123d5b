"""Backends that misbehave: bounded time and memory, one clear error, the others untouched (security.md F7)."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from gateway_proxy.backends import exchange as exchange_room
from gateway_proxy.backends.breaker import FAILURES, FIRST_PAUSE
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    RelayError,
    ResultTooLarge,
    StorageUnavailable,
)
from gateway_proxy.domain.session import UpstreamSessionRecord
from gateway_proxy.router.messages import Failure, Messages, Notification, Result
from tests.flows.test_relay_calls import call, texts
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, echo, serve, text
from tests.support.relay_rooms import LEGACY, http_backend, make_context, open_relay
from tests.support.scripted_http import scripted_http

BIG = b"x" * (11 * 1024 * 1024)


async def _garbage(http: Http) -> None:
    await http.raw(200, b"<html>hello</html>")


async def _half_json(http: Http) -> None:
    await http.raw(200, b'{"jsonrpc":"2.0","id":')


async def _html(http: Http) -> None:
    await http.raw(200, b"<html></html>", {"content-type": "text/html"})


async def _wrong_id(http: Http) -> None:
    http.message["id"] = "somebody-elses"
    await http.result(text("not yours"))


async def _wrong_id_events(http: Http) -> None:
    http.message["id"] = "somebody-elses"
    await http.result(text("not yours"), as_events=True)


async def _number_id(http: Http) -> None:
    http.message["id"] = 1
    await http.result(text("not yours"))


async def _no_outcome(http: Http) -> None:
    await http.raw(200, json.dumps({"jsonrpc": "2.0", "id": http.message["id"]}).encode())


async def _null_result(http: Http) -> None:
    await http.result(None)


async def _list_result(http: Http) -> None:
    await http.result([text("not a result")], as_events=True)


async def _only_notification(http: Http) -> None:
    await http.raw(200, b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}')


async def _redirect(http: Http) -> None:
    await http.raw(302, b"", {"location": "http://169.254.169.254/latest/meta-data/"})


async def _accepted(http: Http) -> None:
    await http.raw(202, b"")


async def _compressed(http: Http) -> None:
    await http.raw(200, b"\x1f\x8b", {"content-encoding": "gzip"})


async def _ends_early(http: Http) -> None:
    await http.progress(1)
    await http.end()


async def _garbage_event(http: Http) -> None:
    await http.event(b"nonsense")
    await http.end()


async def _half_body(http: Http) -> None:
    await http.raw(200, b"{}", {"content-length": "100"})


async def _bad_request(http: Http) -> None:
    await http.raw(418, b"teapot", {"content-type": "text/plain"})


async def _big_json(http: Http) -> None:
    await http.raw(200, BIG)


async def _big_event(http: Http) -> None:
    await http.stream(b"data: ")
    for _ in range(11):
        await http.stream(BIG[: 1024 * 1024])
    await http.end()


async def _big_error(http: Http) -> None:
    await http.raw(500, BIG)


async def _unauthorized(http: Http) -> None:
    await http.raw(401, b"", {"www-authenticate": "Bearer"})


async def _forbidden(http: Http) -> None:
    await http.raw(403, b"{}")


async def _overloaded(http: Http) -> None:
    await http.raw(503, b"busy", {"retry-after": "9"})


async def _error_of_its_own(http: Http) -> None:
    await http.raw(500, b'{"error":"Internal Server Error"}')


async def _error_without_code(http: Http) -> None:
    await http.raw(400, b'{"error":{"message":"no","type":"bad"}}')


async def _deep(http: Http) -> None:
    await http.raw(200, b'{"jsonrpc":"2.0","id":%b,"result":' % json.dumps(http.message["id"]).encode() + b"[" * 99999)


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (_garbage, BackendMisbehaved), (_half_json, BackendMisbehaved), (_html, BackendMisbehaved),
        (_wrong_id, BackendMisbehaved), (_wrong_id_events, BackendMisbehaved), (_number_id, BackendMisbehaved),
        (_no_outcome, BackendMisbehaved), (_null_result, BackendMisbehaved), (_list_result, BackendMisbehaved),
        (_only_notification, BackendMisbehaved), (_redirect, BackendMisbehaved),
        (_accepted, BackendMisbehaved), (_compressed, BackendMisbehaved), (_ends_early, BackendMisbehaved),
        (_garbage_event, BackendMisbehaved), (_half_body, BackendMisbehaved), (_bad_request, BackendMisbehaved),
        (_deep, BackendMisbehaved), (_big_json, ResultTooLarge), (_big_event, ResultTooLarge),
        (_big_error, BackendUnavailable), (_unauthorized, BackendRefusedCredentials),
        (_forbidden, BackendRefusedCredentials), (_error_of_its_own, BackendUnavailable),
        (_error_without_code, BackendMisbehaved), (_overloaded, BackendUnavailable),
    ],
)  # fmt: skip
async def test_a_broken_answer_is_one_clear_error_and_the_next_call_works(
    handler: Callable[[Http], Awaitable[None]], error: type[RelayError]
) -> None:
    """security.md F7: crash, garbage, wrong ids, 302 inside, too much, closes mid-result. Nothing is followed."""
    async with serve(McpBackend(tools={"bad": handler, "echo": echo})) as url, open_relay([http_backend(url)]) as relay:
        with pytest.raises(error) as caught:
            await call(relay, "calc__bad", {"_meta": {"progressToken": 1}})
        assert relay.recorder.outcomes == [("mcp", error.__name__)]
        assert getattr(caught.value, "backend", "") == "calc"
        if handler is _overloaded:
            assert getattr(caught.value, "retry_after", None) == 9.0
        assert len(texts(await call(relay, "calc__echo"))) == 1


async def test_a_json_rpc_error_is_passed_on_whatever_its_status() -> None:
    """relay.md 1: the backend's own error, code, message and data."""

    async def fails(http: Http) -> None:
        message = {"jsonrpc": "2.0", "id": http.message["id"], "error": {"code": -5, "message": "m", "data": [1]}}
        await http.raw(http.params["arguments"]["status"], json.dumps(message).encode())

    async with serve(McpBackend(tools={"fails": fails})) as url, open_relay([http_backend(url)]) as relay:
        for status in (200, 400, 500):
            messages = await call(relay, "calc__fails", {"arguments": {"status": status}})
            assert messages == [Failure(-5, "m", b"[1]")]
        assert relay.recorder.outcomes == [("mcp", "error")] * 3


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_a_silent_backend_is_left_when_its_time_is_over(is_streaming: bool) -> None:
    """relay.md 9: time-out per backend; the backend is told."""
    gone = asyncio.Event()

    async def hangs(http: Http) -> None:
        if is_streaming:
            await http.stream(b": ping\n\n")
        await http.until_gone()
        gone.set()

    backend = McpBackend(tools={"hangs": hangs})
    async with serve(backend) as url, open_relay([http_backend(url, timeout=0.2)]) as relay, asyncio.timeout(5):
        with pytest.raises(BackendTimeout) as caught:
            await call(relay, "calc__hangs")
        assert (caught.value.backend, caught.value.seconds) == ("calc", 0.2)
        await gone.wait()
        while not backend.calls("notifications/cancelled"):
            await asyncio.sleep(0.005)


async def _read_on(messages: Messages, clock: FakeClock) -> None:
    async for _ in messages:
        clock.advance(149)


async def test_a_backend_that_hangs_before_it_was_ever_listed_is_left_when_a_calls_time_is_over() -> None:
    """security.md F7: hang; relay.md 9: time-out per backend, whatever the call waits for."""
    backend = McpBackend(handlers={"initialize": Http.until_gone})
    async with serve(backend) as url, open_relay([http_backend(url, timeout=0.2)]) as relay, asyncio.timeout(5):
        with pytest.raises(BackendUnavailable):
            await call(relay, "calc__x")


async def test_progress_gives_a_call_its_time_again_but_not_for_ever() -> None:
    """relay.md 9: progress extends the time-out to a cap (600 s in all)."""

    async def slow(http: Http) -> None:
        for step in range(100):
            await http.progress(step)
        await http.until_gone()

    async with serve(McpBackend(tools={"slow": slow})) as url, open_relay([http_backend(url, timeout=250)]) as relay:
        params = b'{"name":"x","_meta":{"progressToken":1}}'
        messages = relay.calls.call(make_context(), LEGACY, name="calc__slow", params=params)
        for _ in range(4):
            assert isinstance(await anext(messages), Notification)
            relay.clock.advance(149)
        with pytest.raises(BackendTimeout):
            await _read_on(messages, relay.clock)


async def test_an_endless_stream_ends_with_the_call_and_not_with_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """security.md F7: endless SSE."""
    monkeypatch.setattr(exchange_room, "STREAM_LIMIT", 2 * 1024 * 1024)

    async def endless(http: Http) -> None:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 60_000}}
        for _ in range(5000):
            await http.event(note)

    async with serve(McpBackend(tools={"endless": endless})) as url, open_relay([http_backend(url)]) as relay:
        with pytest.raises(ResultTooLarge):
            async for _ in relay.calls.call(make_context(), LEGACY, name="calc__endless", params=b'{"name":"x"}'):
                pass


async def test_a_backend_that_talks_without_end_leaves_others_their_turn() -> None:
    """security.md F7: others' calls go on; what comes in one piece is not dealt with in one piece."""

    async def chatty(http: Http) -> None:
        note = {"progressToken": http.token, "progress": 1}
        event = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": note}).encode()
        await http.stream(b"data: %b\n\n" % event * 500)
        await http.result(text("done"))

    received = longest = seen = 0

    async def others() -> None:
        nonlocal seen
        while True:
            seen = received
            await asyncio.sleep(0)

    async with serve(McpBackend(tools={"chatty": chatty})) as url, open_relay([http_backend(url)]) as relay:
        params = b'{"name":"x","_meta":{"progressToken":1}}'
        turns = asyncio.create_task(others())
        async for _ in relay.calls.call(make_context(), LEGACY, name="calc__chatty", params=params):
            received += 1
            longest = max(longest, received - seen)
        turns.cancel()
    assert received == 501
    assert longest <= 64


async def test_a_backend_that_asks_without_end_is_cut() -> None:
    """Every answer is a request of ours; a call may not make us send thousands."""

    async def pings(http: Http) -> None:
        for number in range(5000):
            await http.event({"jsonrpc": "2.0", "id": number, "method": "ping"})

    backend = McpBackend(tools={"pings": pings})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        with pytest.raises(BackendMisbehaved):
            await call(relay, "calc__pings")
        assert backend.answers.qsize() <= 100


async def test_a_dead_backend_is_left_alone_for_a_while_and_found_again() -> None:
    """security.md F7: breaker opens, half-opens; other backends are untouched."""
    backend = demo_backend()

    async def breaks(http: Http) -> None:
        await http.raw(503, b"")

    async with (
        serve(backend) as url,
        serve(demo_backend()) as other_url,
        open_relay([http_backend(url), http_backend(other_url, "other")]) as relay,
    ):
        await relay.names()
        backend.tools["echo"], working = breaks, backend.tools["echo"]
        for _ in range(FAILURES):
            with pytest.raises(BackendUnavailable):
                await call(relay, "calc__echo")
        asked = len(backend.seen)
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "calc__echo")
        assert caught.value.retry_after is not None
        assert len(backend.seen) == asked
        assert len(texts(await call(relay, "other__echo"))) == 1
        calc, other = await relay.catalog.status(make_context())
        assert (calc.state, other.state, other.problem) == ("failing", "ready", None)
        assert calc.problem == "its calls fail, and it is left alone for a while: it answered with status 503"
        backend.tools["echo"] = working
        relay.clock.advance(FIRST_PAUSE)
        assert len(texts(await call(relay, "calc__echo"))) == 1
        assert len(texts(await call(relay, "calc__echo"))) == 1
        assert [each.problem for each in await relay.catalog.status(make_context())] == [None, None]


async def test_nobody_listening_is_unavailable_at_once() -> None:
    """security.md O6: back end down, its tools error."""
    async with serve(demo_backend()) as url:
        definition = http_backend(url)
        async with open_relay([definition]) as relay:
            await relay.names()
            await relay.upstreams._endpoints.network(definition).http.close()
    async with open_relay([definition]) as relay:
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "calc__echo")
        assert caught.value.reason == "nothing listens there"


async def test_a_tenants_own_url_to_a_private_address_is_not_reached() -> None:
    """security.md E1: only an operator's URL allows its own host and port."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url, origin="tenant")]) as relay:
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "calc__echo")
        assert "may not be reached" in caught.value.reason
        assert backend.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        {"protocolVersion": "1999-01-01"},
        {"capabilities": {}},
        [],
    ],
)
async def test_a_handshake_that_is_none_is_an_error(answer: object) -> None:
    """2025-11-25, Version Negotiation: disconnect when the version is not supported."""

    async def initialize(http: Http) -> None:
        await http.result(answer)

    backend = McpBackend(handlers={"initialize": initialize})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "calc__x")
        assert "version" in caught.value.reason or "malformed" in caught.value.reason


async def test_a_handshake_over_an_event_stream_works_and_foreign_noise_is_skipped() -> None:
    """2025-11-25: any response may come as an event stream."""
    backend = demo_backend(has_sessions=False)

    async def initialize(http: Http) -> None:
        await http.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "hello"}})
        await http.result({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})

    backend.handlers["initialize"] = initialize
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert len(texts(await call(relay, "calc__echo"))) == 1


async def test_waiting_callers_share_one_handshake_and_its_failure() -> None:
    """relay.md 5: opened lazily, single-flight."""
    tries = 0

    async def initialize(http: Http) -> None:
        nonlocal tries
        tries += 1
        await http.raw(500, b"")

    backend = demo_backend(handlers={"initialize": initialize})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        results = await asyncio.gather(*(call(relay, "calc__echo") for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, BackendUnavailable) for result in results)
        assert tries <= 2


async def test_one_waiting_caller_that_leaves_does_not_take_the_handshake_with_it() -> None:
    """Single-flight work belongs to nobody in particular."""
    release = asyncio.Event()
    backend = demo_backend()

    async def initialize(http: Http) -> None:
        await release.wait()
        await backend._initialize(http)

    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        backend.handlers["initialize"] = initialize
        first = asyncio.create_task(call(relay, "calc__echo"))
        second = asyncio.create_task(call(relay, "calc__echo"))
        while len(backend.calls("initialize")) < 2:
            await asyncio.sleep(0.002)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        release.set()
        assert len(texts(await second)) == 1
        assert len(backend.calls("initialize")) == 2


class BrokenRecords:
    """A session store that cannot be reached."""

    async def find_upstream(self, key: str, *, tenant_id: str) -> UpstreamSessionRecord | None:
        raise StorageUnavailable

    async def add_upstream(self, record: UpstreamSessionRecord, *, tenant_id: str) -> UpstreamSessionRecord:
        raise StorageUnavailable

    async def remove_upstream(self, key: str, *, tenant_id: str, session_id: str | None) -> None:
        raise StorageUnavailable


async def test_without_the_shared_store_a_worker_keeps_sessions_of_its_own() -> None:
    """security.md O5: Redis down is degraded but safe."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)], records=BrokenRecords()) as relay:
        assert [texts(await call(relay, "calc__count")) for _ in range(2)] == [["1"], ["2"]]
        backend.sessions.clear()
        assert texts(await call(relay, "calc__count")) == ["1"]


async def test_a_server_that_is_no_mcp_server_is_said_to_be_none() -> None:
    """2025-11-25, Backwards Compatibility: 404 or 405 to initialize."""
    async with (
        scripted_http(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n") as server,
        open_relay([http_backend(f"http://127.0.0.1:{server.port}")]) as relay,
    ):
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "calc__x")
        assert caught.value.reason == "its URL is not a streamable HTTP endpoint"


async def test_a_result_may_be_large_within_the_limit() -> None:
    """security.md D2: result ≤ 10 MiB."""

    async def big(http: Http) -> None:
        await http.result(text("x" * 9_000_000), as_events=http.params["arguments"]["events"])

    async with serve(McpBackend(tools={"big": big})) as url, open_relay([http_backend(url)]) as relay:
        for events in (True, False):
            messages = await call(relay, "calc__big", {"arguments": {"events": events}})
            assert isinstance(messages[0], Result)
            assert len(messages[0].raw) > 9_000_000
