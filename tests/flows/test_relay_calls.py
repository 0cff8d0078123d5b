"""A tool call from a surface to a real backend and back: bytes, progress, cancellation, sessions, server requests."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from gateway_proxy.domain.errors import RateLimited, RelayError, ToolUnknown
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import Failure, Notification, RelayMessage, Result, ServerRequest
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, text
from tests.support.relay_rooms import (
    LEGACY,
    MODERN,
    RELAYING,
    Relay,
    http_backend,
    make_context,
    open_relay,
)


async def call(
    relay: Relay, name: str, params: Any = None, *, ctx: TenantContext | None = None, caller: Caller = LEGACY
) -> list[RelayMessage]:
    """Every message of one call."""
    raw = params if isinstance(params, bytes) else json.dumps({"name": name, **(params or {})}).encode()
    return [message async for message in relay.calls.call(ctx or make_context(), caller, name=name, params=raw)]


def texts(messages: list[RelayMessage]) -> list[str]:
    """The texts of the results."""
    return [json.loads(m.raw)["content"][0]["text"] for m in messages if isinstance(m, Result)]


@pytest.mark.parametrize("name", ["calc__echo", "calc.echo", "calc__echo_events"])
async def test_a_call_reaches_the_tool_and_its_result_comes_back_byte_for_byte(name: str) -> None:
    """relay.md 1; compatibility.md B6: `_meta` and unknown fields pass, over JSON and over events."""
    backend, tool_name = demo_backend(), name.removeprefix("calc").lstrip("_.")
    wire = b'{"name":"zzz","arguments":{"n":1.50,"u":"\\u00e9"},"_meta":{"k":[1, 2]},"vendor":{"x":null}}'
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, name, wire)
        assert texts(messages) == ['{"n": 1.5, "u": "\\u00e9"}']
        sent, headers = backend.calls("tools/call")[0]
        assert sent["params"] == {**json.loads(wire), "name": tool_name}
        assert headers["mcp-protocol-version"] == "2025-11-25"
        assert relay.recorder.outcomes == [("mcp", "ok")]
        event = relay.recorder.events[0]
        assert (event["event"], event["tool"], event["backend"], event["outcome"]) == (
            "tool.called", f"calc__{tool_name}", "calc", "ok",
        )  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"arguments": None}, {"arguments": {}}])
async def test_a_call_without_arguments_has_none_in_the_form_that_every_server_takes(params: Any) -> None:
    """Clients write null or nothing; servers made with the TypeScript SDK refuse both (typescript-sdk#2012)."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert texts(await call(relay, "calc__echo", params)) == ["{}"]
        assert backend.calls("tools/call")[0][0]["params"]["arguments"] == {}


async def test_a_result_passes_with_its_unknown_fields_and_odd_numbers() -> None:
    """relay.md 1: typed models drop unknown fields; bytes do not."""
    result = b'{"content":[],"isError":true,"vendor":{"n":1e400,"m":1.0},"structuredContent":{"\\u00e9":[]}}'

    async def odd(http: Http) -> None:
        await http.raw(200, b'{"jsonrpc":"2.0","id":"%b","result":%b}' % (http.message["id"].encode(), result))

    async with serve(McpBackend(tools={"odd": odd})) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, "calc__odd")
        assert messages == [Result(result)]
        assert relay.recorder.outcomes == [("mcp", "tool_error")]


async def test_half_a_character_in_a_result_costs_that_character_and_not_the_result() -> None:
    """Servers cut text by UTF-16 units; their escape of half a character is JSON, and no UTF-8."""

    async def cuts(http: Http) -> None:
        body = b'{"jsonrpc":"2.0","id":"%b","result":{"content":[],"t":"a\\ud83d"}}' % http.message["id"].encode()
        await (http.event(body) if http.params["arguments"]["events"] else http.raw(200, body))
        if http.params["arguments"]["events"]:
            await http.end()

    async with serve(McpBackend(tools={"cuts": cuts})) as url, open_relay([http_backend(url)]) as relay:
        for events in (True, False):
            messages = await call(relay, "calc__cuts", {"arguments": {"events": events}})
            assert messages == [Result(b'{"content":[],"t":"a\\ufffd"}')]


async def test_two_callers_with_the_same_ids_and_tokens_get_each_their_own() -> None:
    """relay.md 1: ids and progress tokens are re-minted; two clients using id 1 and token 1 is a test."""
    both = asyncio.Barrier(2)

    async def slow(http: Http) -> None:
        who = http.params["arguments"]["who"]
        await http.progress(1, message=f"for {who}")
        await both.wait()
        foreign = {"progressToken": 1, "progress": 9, "message": "a token of nobody"}
        await http.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": foreign})
        await http.progress(2, total=2, message=f"for {who}")
        await http.result(text(who))

    backend = McpBackend(tools={"slow": slow})
    async with serve(backend) as url, open_relay([http_backend(url, isolation="tenant")]) as relay:
        outcomes = await asyncio.gather(
            call(relay, "calc__slow", {"arguments": {"who": "ann"}, "_meta": {"progressToken": 1}}),
            call(
                relay, "calc__slow", {"arguments": {"who": "bob"}, "_meta": {"progressToken": 1}},
                ctx=make_context(user_id="u2"),
            ),
        )  # fmt: skip
        assert len(backend.sessions) == 1
    for who, messages in zip(("ann", "bob"), outcomes, strict=True):
        notes = [json.loads(m.raw) for m in messages if isinstance(m, Notification)]
        assert [note["params"]["message"] for note in notes] == [f"for {who}"] * 2
        assert [note["params"]["progressToken"] for note in notes] == [1, 1]
        assert texts(messages) == [who]
    sent = [message["params"]["_meta"]["progressToken"] for message, _ in backend.calls("tools/call")]
    assert len(set(sent)) == 2


@pytest.mark.parametrize("token", ["abc", "1", 1, 0])
async def test_a_progress_token_comes_back_as_the_type_it_was(token: str | int) -> None:
    """2025-11-25, Progress: tokens are strings or integers."""

    async def slow(http: Http) -> None:
        await http.progress(1)
        await http.result(text("done"))

    async with serve(McpBackend(tools={"slow": slow})) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, "calc__slow", {"_meta": {"progressToken": token}})
    assert isinstance(messages[0], Notification)
    assert json.loads(messages[0].raw)["params"]["progressToken"] == token


async def test_log_messages_of_a_call_reach_its_caller() -> None:
    """relay.md 3: log messages arrive on the stream of the call and leave on it."""

    async def talks(http: Http) -> None:
        params = {"level": "info", "data": {"a": 1}, "logger": "x"}
        await http.event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        await http.result(text("done"))

    async with serve(McpBackend(tools={"talks": talks})) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, "calc__talks")
    assert isinstance(messages[0], Notification)
    assert json.loads(messages[0].raw)["params"] == {"level": "info", "data": {"a": 1}, "logger": "x"}


async def test_notifications_that_we_do_not_know_reach_an_older_caller_on_its_call() -> None:
    """relay.md 8; 2025-11-25, Elicitation: `elicitation/complete` may come there. 2026-07-28 has no such thing."""
    note = {"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": "e", "x": 1}}

    async def talks(http: Http) -> None:
        await http.event(note)
        await http.event({"jsonrpc": "2.0", "method": "notifications/x-vendor"})
        await http.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await http.result(text("done"))

    async with serve(McpBackend(tools={"talks": talks})) as url, open_relay([http_backend(url)]) as relay:
        *notes, _ = await call(relay, "calc__talks")
        assert len(await call(relay, "calc__talks", caller=MODERN)) == 1
    assert [json.loads(each.raw) for each in notes if isinstance(each, Notification)] == [
        note,
        {"jsonrpc": "2.0", "method": "notifications/x-vendor"},
    ]


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_closing_a_call_cancels_it_at_the_backend(is_streaming: bool) -> None:
    """relay.md 8: the closed stream reaches the backend as notifications/cancelled."""
    gone, cancelled = asyncio.Event(), asyncio.Event()

    async def hangs(http: Http) -> None:
        if is_streaming:
            await http.progress(1)
        await http.until_gone()
        gone.set()

    async def on_cancelled(http: Http) -> None:
        cancelled.set()
        await http.raw(202, b"")

    backend = McpBackend(tools={"hangs": hangs}, handlers={"notifications/cancelled": on_cancelled})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay, asyncio.timeout(5):
        running = asyncio.create_task(call(relay, "calc__hangs", {"_meta": {"progressToken": 1}}))
        while not backend.calls("tools/call"):
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await gone.wait()
        await cancelled.wait()
        assert relay.recorder.outcomes == [("mcp", "cancelled")]
    (asked, _), (note, _) = backend.calls("tools/call")[0], backend.calls("notifications/cancelled")[0]
    assert note["params"]["requestId"] == asked["id"]


async def test_leaving_a_call_after_its_first_message_cancels_it() -> None:
    """The surface closes the messages when its client leaves."""
    gone = asyncio.Event()

    async def hangs(http: Http) -> None:
        await http.progress(1)
        await http.until_gone()
        gone.set()

    async with serve(McpBackend(tools={"hangs": hangs})) as url, open_relay([http_backend(url)]) as relay:
        params = b'{"name":"x","_meta":{"progressToken":1}}'
        messages = relay.calls.call(make_context(), LEGACY, name="calc__hangs", params=params)
        assert isinstance(await anext(messages), Notification)
        await messages.aclose()
        async with asyncio.timeout(5):
            await gone.wait()
        await messages.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
    assert [event["outcome"] for event in relay.recorder.events if event["event"] == "tool.called"] == ["cancelled"]


async def test_a_call_is_recorded_once_and_before_its_outcome_is_known() -> None:
    """ADR 12: whoever hears of a result may rely on its record, without reading on."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        messages = relay.calls.call(make_context(), LEGACY, name="calc__count", params=b'{"name":"x"}')
        assert isinstance(await anext(messages), Result)
        assert relay.recorder.outcomes == [("mcp", "ok")]
        await messages.aclose()
        assert [message async for message in messages] == []
        assert relay.recorder.outcomes == [("mcp", "ok")]


async def test_an_upstream_session_is_opened_once_and_kept_per_user() -> None:
    """relay.md 5: never a new session per call; isolation `user` by default."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        opened = len(backend.sessions)
        counts = await asyncio.gather(*(call(relay, "calc__count") for _ in range(20)))
        assert sorted(int(texts(messages)[0]) for messages in counts) == list(range(1, 21))
        assert len(backend.sessions) == opened + 1
        assert texts(await call(relay, "calc__count", ctx=make_context(user_id="u2"))) == ["1"]
        assert len(backend.calls("notifications/initialized")) == len(backend.calls("initialize"))


async def test_what_a_client_session_had_to_itself_ends_with_it() -> None:
    """2025-11-25, Session Management: whoever no longer needs a session says so with DELETE."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url, isolation="session")]) as relay:
        for session_id in ("a", "b", "a"):
            await call(relay, "calc__count", caller=structs.replace(LEGACY, session_id=session_id))
        listing = len(backend.sessions) - 2
        relay.calls.end_session("a")
        async with asyncio.timeout(5):
            while not backend.ended:
                await asyncio.sleep(0.005)
        messages = [
            texts(await call(relay, "calc__count", caller=structs.replace(LEGACY, session_id=session_id)))
            for session_id in ("a", "b")
        ]
        assert messages == [["1"], ["2"]]
        assert (len(backend.ended), len(backend.sessions)) == (1, 2 + listing)


async def test_another_worker_and_a_restarted_one_go_on_with_the_same_upstream_session() -> None:
    """relay.md 2 and 5: any worker serves any session; a restart loses none."""
    clock = FakeClock()
    backend, records = demo_backend(), MemorySessionStore(clock)
    async with serve(backend) as url:
        definition = http_backend(url)
        async with (
            open_relay([definition], clock=clock, records=records) as first,
            open_relay([definition], clock=clock, records=records) as second,
        ):
            assert texts(await call(first, "calc__count")) == ["1"]
            assert texts(await call(second, "calc__count")) == ["2"]
        async with open_relay([definition], clock=clock, records=records) as restarted:
            assert texts(await call(restarted, "calc__count")) == ["3"]
        assert len(backend.calls("initialize")) == 2  # one for lists, one for the user
        assert backend.ended == []


async def test_workers_that_open_at_once_agree_on_one_session() -> None:
    """sessions.store: the first writer wins; the loser ends what it opened."""
    clock = FakeClock()
    backend, records = demo_backend(), MemorySessionStore(clock)
    async with (
        serve(backend) as url,
        open_relay([http_backend(url)], clock=clock, records=records) as first,
        open_relay([http_backend(url)], clock=clock, records=records) as second,
    ):
        results = await asyncio.gather(call(first, "calc__count"), call(second, "calc__count"))
        assert sorted(texts(m)[0] for m in results) == ["1", "2"]
        async with asyncio.timeout(5):
            while len(backend.sessions) > 2:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("status", [404, 400])
async def test_an_expired_session_is_opened_again_once_and_nobody_notices(status: int) -> None:
    """relay.md 5: one expired upstream session (404) is re-opened once, transparently; some servers say 400."""
    backend = demo_backend()

    async def lists(http: Http) -> None:
        if http.session_id not in backend.sessions:
            await http.error(-32000, "Bad Request: No valid session ID provided", status=status)
            return
        await http.result({"tools": [{"name": "count"}]})

    if status == 400:
        backend.handlers["tools/list"] = lists
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert texts(await call(relay, "calc__count")) == ["1"]
        backend.sessions.clear()
        results = await asyncio.gather(*(call(relay, "calc__count") for _ in range(10)))
        assert sorted(int(texts(m)[0]) for m in results) == list(range(1, 11))
        assert len(backend.calls("initialize")) == 3
        assert {outcome for _, outcome in relay.recorder.outcomes} == {"ok"}


async def test_a_404_about_the_request_costs_no_session() -> None:
    """2025-11-25, Session Management: 404 is a forgotten session; with -32601 an unknown method."""

    async def unknown(http: Http) -> None:
        await http.error(-32601, "Method not found", status=404)

    backend = demo_backend()
    backend.tools["unknown"] = unknown
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert texts(await call(relay, "calc__count")) == ["1"]
        assert await call(relay, "calc__unknown") == [Failure(-32601, "Method not found")]
        assert texts(await call(relay, "calc__count")) == ["2"]


async def test_a_backend_that_forgets_every_session_is_an_error_and_not_a_loop() -> None:
    """relay.md 5: once."""

    async def forgets(http: Http) -> None:
        await http.error(-32001, "Session not found", status=404)

    backend = McpBackend(tools={"x": forgets})
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        with pytest.raises(RelayError):
            await call(relay, "calc__x")
        assert len(backend.calls("tools/call")) == 2


async def asks(http: Http) -> None:
    """A tool that asks the client something before it answers."""
    question = {"message": "Sure?", "requestedSchema": {"type": "object"}}
    await http.event({"jsonrpc": "2.0", "id": 77, "method": "elicitation/create", "params": question})


async def test_a_server_request_nobody_can_answer_is_refused_upstream() -> None:
    """relay.md 3: answered with an error, never guessed; -32601."""
    backend = McpBackend()

    async def ask(http: Http) -> None:
        await asks(http)
        answer = await backend.answers.get()
        await http.result(text(json.dumps(answer["error"]["code"])))

    backend.tools["ask"] = ask
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        declared = b'{"elicitation":{}}'
        declaring = structs.replace(LEGACY, capabilities_json=declared)
        assert texts(await call(relay, "calc__ask", caller=declaring)) == ["-32601"]
        assert texts(await call(relay, "calc__ask", caller=MODERN)) == ["-32601"]
        told = {json.dumps(message["params"]["capabilities"]) for message, _ in backend.calls("initialize")}
        assert told == {"{}"}


async def test_a_server_request_goes_to_a_caller_that_declared_it_and_its_answer_comes_back() -> None:
    """relay.md 3: elicitation arrives on the stream of the call; the answer may come from another task."""
    backend = McpBackend()

    async def ask(http: Http) -> None:
        await asks(http)
        answer = await backend.answers.get()
        await http.result(text(json.dumps([answer["id"], answer["result"]])))

    backend.tools["ask"] = ask
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        found: list[RelayMessage] = []
        async for message in relay.calls.call(make_context(), RELAYING, name="calc__ask", params=b'{"name":"x"}'):
            found.append(message)
            if isinstance(message, ServerRequest):
                assert message.method == "elicitation/create"
                assert json.loads(message.params or b"")["message"] == "Sure?"
                task = asyncio.create_task(_answer_twice(message))
                await task
        assert texts(found) == ['[77, {"action": "accept"}]']
        assert backend.answers.empty()
        declared = [message["params"]["capabilities"] for message, _ in backend.calls("initialize")]
        assert {"elicitation": {}, "roots": {"listChanged": True}} in declared


async def _answer_twice(request: ServerRequest) -> None:
    await request.answer(b'"result":{"action":"accept"}')
    await request.answer(b'"result":{"action":"decline"}')


@pytest.mark.parametrize(
    ("capabilities", "question", "code"),
    [
        ({"elicitation": {}}, ("elicitation/create", {"mode": "url"}), -32602),
        ({"elicitation": {"form": {}, "url": None}}, ("elicitation/create", {"mode": "url"}), -32602),
        ({"elicitation": {"url": {}}}, ("elicitation/create", {"requestedSchema": {}}), -32602),
        ({"elicitation": {"url": {}}}, ("elicitation/create", {"mode": "url"}), None),
        ({"elicitation": {"url": {}}}, ("elicitation/create", {"mode": 7}), None),
        ({"elicitation": {}, "sampling": None}, ("sampling/createMessage", {}), -32601),
        ({"sampling": {}}, ("sampling/createMessage", {"tools": [{"name": "t"}]}), -32602),
        ({"sampling": {}}, ("sampling/createMessage", {"toolChoice": {"mode": "auto"}}), -32602),
        ({"sampling": {}}, ("sampling/createMessage", {"tools": None}), None),
        ({"sampling": {"tools": {}}}, ("sampling/createMessage", {"tools": [{"name": "t"}]}), None),
    ],
)
async def test_a_client_is_not_asked_in_a_way_that_it_did_not_declare(
    capabilities: Any, question: tuple[str, Any], code: int | None
) -> None:
    """2025-11-25, Elicitation: no mode that the client does not support; Sampling: tools only where declared."""
    backend = McpBackend()

    async def ask(http: Http) -> None:
        await http.event({"jsonrpc": "2.0", "id": 77, "method": question[0], "params": question[1]})
        answer = await backend.answers.get()
        await http.result(text(json.dumps(answer.get("error", {}).get("code"))))

    backend.tools["ask"] = ask
    caller = structs.replace(RELAYING, capabilities_json=json.dumps(capabilities).encode())
    found: list[RelayMessage] = []
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        async for message in relay.calls.call(make_context(), caller, name="calc__ask", params=b'{"name":"x"}'):
            found.append(message)
            if isinstance(message, ServerRequest):
                await message.answer(b'"result":{}')
    assert texts(found) == [json.dumps(code)]
    assert any(isinstance(message, ServerRequest) for message in found) == (code is None)


async def test_a_ping_of_the_backend_is_answered_by_us() -> None:
    """2025-11-25, Ping: the receiver MUST respond promptly."""
    backend = McpBackend()

    async def pings(http: Http) -> None:
        await http.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await http.result(text(json.dumps(await backend.answers.get())))

    backend.tools["pings"] = pings
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        answer = json.loads(texts(await call(relay, "calc__pings"))[0])
        assert answer == {"jsonrpc": "2.0", "id": "p", "result": {}}


async def test_a_stream_that_the_backend_ends_early_is_resumed_where_it_stopped() -> None:
    """2025-11-25, Resumability and Redelivery (SEP-1699): GET with Last-Event-ID after the server's retry time."""
    backend = McpBackend()

    async def drops(http: Http) -> None:
        backend.sessions["asked"] = http.message["id"]
        await http.stream(b"id: e1\nretry: 10\ndata:\n\n")
        await http.end()

    async def resumes(http: Http) -> None:
        assert http.headers["last-event-id"] == "e1"
        await http.event({"jsonrpc": "2.0", "id": backend.sessions["asked"], "result": text("after all")})
        await http.end()

    backend.tools["drops"] = drops
    backend.handlers["GET"] = resumes
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert texts(await call(relay, "calc__drops")) == ["after all"]


async def test_connections_are_used_again_after_event_streams() -> None:
    """performance.md: never a new connection per call."""
    seen: set[Any] = set()
    backend = demo_backend()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.add(scope["client"])
        await backend(scope, receive, send)

    async with serve(app) as url, open_relay([http_backend(url)]) as relay:
        for _ in range(20):
            await call(relay, "calc__echo_events")
            await asyncio.sleep(0.002)
    assert len(seen) <= 3


async def test_nothing_of_the_callers_request_but_its_params_goes_upstream() -> None:
    """security.md RS3: the caller's token never goes upstream; the definition's own credential does."""
    backend = demo_backend()
    headers = {
        "Authorization": "Bearer theirs",
        "X-Api-Version": "7",
        "Cookie": "a=b",
        "X-Forwarded-For": "1",
        "TE": "x",
    }
    async with serve(backend) as url, open_relay([http_backend(url, headers=headers)]) as relay:
        await call(relay, "calc__echo")
    for _, sent in backend.seen:
        assert sent["authorization"] == "Bearer theirs"
        assert sent["x-api-version"] == "7"
        assert sent["accept-encoding"] == "identity"
        assert not {"x-forwarded-for", "te"} & set(sent)


async def test_another_tenants_tool_is_an_unknown_tool() -> None:
    """security.md T4: a foreign tool is the same as an unknown one, byte for byte."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        for ctx, name in ((make_context("t2"), "calc__echo"), (make_context(), "calc__none"), (make_context(), "x")):
            with pytest.raises(ToolUnknown) as caught:
                await call(relay, name, ctx=ctx)
            assert caught.value.name == name
        assert relay.recorder.events == []


async def test_a_token_without_a_calling_scope_or_of_another_tenant_calls_nothing() -> None:
    """relay.md 9: policy sits in one place."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        good = make_context()
        for principal in (
            replace(good.principal, scopes=frozenset({"admin"})),
            replace(good.principal, tenant_id="t2"),
        ):
            with pytest.raises(ToolUnknown):
                await call(relay, "calc__echo", ctx=TenantContext(good.tenant, principal))


async def test_a_tenant_has_a_bounded_number_of_calls_under_way() -> None:
    """security.md T8: one tenant cannot starve the others."""
    release = asyncio.Event()

    async def waits(http: Http) -> None:
        await release.wait()
        await http.result(text("done"))

    async with serve(McpBackend(tools={"waits": waits})) as url, open_relay([http_backend(url)]) as relay:
        relay.calls._means.policy._limit = 2
        running = [asyncio.create_task(call(relay, "calc__waits")) for _ in range(2)]
        while len(relay.calls._means.policy._under_way) == 0 or relay.calls._means.policy._under_way["t1"] < 2:
            await asyncio.sleep(0.002)
        with pytest.raises(RateLimited):
            await call(relay, "calc__waits")
        release.set()
        assert [texts(m) for m in await asyncio.gather(*running)] == [["done"], ["done"]]
        assert relay.calls._means.policy._under_way == {}


async def test_params_that_are_no_object_are_the_callers_fault() -> None:
    """JSON-RPC 2.0: -32602, and the backend hears nothing."""
    backend = demo_backend()
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, "calc__echo", b'{"_meta":[]}')
        assert isinstance(messages[0], Failure)
        assert (messages[0].code, len(messages), backend.calls("tools/call")) == (-32602, 1, [])


async def test_call_to_end_gives_the_outcome_and_progress_on_the_way() -> None:
    """For /v1: arguments in, outcome out."""

    async def slow(http: Http) -> None:
        await http.progress(1)
        await http.result(text(json.dumps(http.params["arguments"])))

    heard: list[bytes] = []

    async def hear(raw: bytes) -> None:
        heard.append(raw)

    async with serve(McpBackend(tools={"slow": slow})) as url, open_relay([http_backend(url)]) as relay:
        outcome = await relay.calls.call_to_end(
            make_context(), LEGACY, name="calc__slow", arguments=b'{"a":1}', on_progress=hear
        )
        assert texts([outcome]) == ['{"a": 1}']
        assert json.loads(heard[0])["params"]["progress"] == 1


async def test_a_modern_backend_is_called_with_what_its_era_asks_for() -> None:
    """relay.md 6; 2026-07-28: per-request _meta, Mcp-Method and Mcp-Name equal to the body, no session."""
    backend = demo_backend(modern=True)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        messages = await call(relay, "calc__echo", {"arguments": {"a": 1}, "_meta": {"mine": 1}})
        assert texts(messages) == ['{"a": 1}']
        assert isinstance(messages[0], Result)
        assert messages[0].modern
    sent, headers = backend.calls("tools/call")[0]
    assert (headers["mcp-method"], headers["mcp-name"], headers["mcp-protocol-version"]) == (
        "tools/call", "echo", "2026-07-28",
    )  # fmt: skip
    assert "mcp-session-id" not in headers
    assert sent["params"]["_meta"] == {
        "mine": 1,
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "client", "version": "1"},
    }


@pytest.mark.parametrize("backends", [1, 2])
async def test_a_task_is_made_only_where_its_id_leads_back_to_it(backends: int) -> None:
    """2026-07-28, Extension Negotiation: with several servers nobody could serve tasks/get, so none hears of tasks."""
    extensions = {"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {"mimeTypes": ["a/b"]}}
    declared = json.dumps({"elicitation": {}, "extensions": extensions}).encode()
    caller = structs.replace(MODERN, capabilities_json=declared)
    demo = demo_backend(modern=True)
    async with (
        serve(demo) as url,
        open_relay([http_backend(url), *(http_backend(url, f"more{n}") for n in range(1, backends))]) as relay,
    ):
        await relay.calls.call_to_end(make_context(), caller, name="calc__echo", arguments=b"{}")
    told = demo.calls("tools/call")[0][0]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    if backends > 1:
        del extensions["io.modelcontextprotocol/tasks"]
    assert told == {"elicitation": {}, "extensions": extensions}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_legacy_version_of_a_backend_is_spoken(version: str) -> None:
    """relay.md 6: handshake 2025-11-25 down to 2024-11-05; without sessions too."""
    backend = demo_backend(version=version, has_sessions=False)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        assert len(texts(await call(relay, "calc__echo"))) == 1
    headers = backend.calls("tools/call")[0][1]
    assert headers.get("mcp-protocol-version") == (version if version >= "2025-06-18" else None)
    assert "mcp-session-id" not in headers
