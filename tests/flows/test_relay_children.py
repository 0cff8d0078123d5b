"""Children of the runner through the relay: the real runner, real processes, several workers (relay.md 3, 4, 5)."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec import structs

from gateway_proxy.backends import handshake as handshake_room
from gateway_proxy.backends.pool import UNCLEAR_SECONDS
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import BackendMisbehaved, BackendUnavailable, ToolUnknown
from gateway_proxy.router.directory import LIFETIME
from gateway_proxy.router.messages import Failure, Notification, RelayMessage, ServerRequest
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.flows.test_relay_calls import call, texts
from tests.support.children.streamer import PIECES
from tests.support.clock import FakeClock
from tests.support.mcp_backends import FakeRunner, Http, McpBackend, demo_backend, serve
from tests.support.relay_rooms import (
    LEGACY,
    MODERN,
    RELAYING,
    Relay,
    http_backend,
    make_context,
    open_relay,
    stdio_backend,
)
from tests.support.runner import KEY, ROOT, RunnerProcess, running_runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One real runner for this file."""
    with running_runner(tmp_path_factory.mktemp("runner")) as process:
        yield process


def child(script: str, name: str = "local", **fields: Any) -> Backend:
    """A stdio backend that runs one of `tests.support.children`, its own child in every test."""
    module = script if "." in script else f"tests.support.children.{script}"
    fields = {"id": f"{name}-{time.time_ns()}", **fields}
    return stdio_backend(name, command=sys.executable, args=("-m", module), cwd=str(ROOT), **fields)


@pytest.fixture
async def fake_runner(tmp_path: Path) -> AsyncIterator[FakeRunner]:
    """A stand-in for the runner that records what it is asked."""
    fake = FakeRunner(demo_backend)
    async with serve(fake, unix=str(tmp_path / "s")):
        yield fake


async def test_a_real_tool_over_stdio_is_listed_and_called_with_progress(runner: RunnerProcess) -> None:
    """issue 2, deliverable 5: backends over stdio through the runner; progress from relay.md 3."""
    backend = child("gateway_proxy.demo", "demo")
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay:
        assert {"demo__add", "demo__echo", "demo__slow"} <= set(await relay.names())
        assert texts(await call(relay, "demo__add", {"arguments": {"a": 2, "b": 3}})) == ["5"]
        params = {"arguments": {"seconds": 0.02, "steps": 4}, "_meta": {"progressToken": "mine"}}
        messages = await call(relay, "demo__slow", params)
        notes = [json.loads(message.raw) for message in messages if isinstance(message, Notification)]
        assert [note["params"]["progressToken"] for note in notes] == ["mine"] * 4
        outcome = await relay.calls.call_to_end(
            make_context(), LEGACY, name="demo.echo", arguments=b'{"text":"\\u00e9\\n"}'
        )
        assert texts([outcome]) == ["é\n"]


async def test_all_that_a_child_streams_as_progress_arrives(runner: RunnerProcess) -> None:
    """The runner holds no child up for a reader: who does not read at the child's pace loses what it says."""
    async with open_relay([child("streamer")], runner=str(runner.socket), runner_key=KEY) as relay:
        messages = await call(relay, "local__stream", {"_meta": {"progressToken": "mine"}})
        assert sum(isinstance(message, Notification) for message in messages) == PIECES
        assert texts(messages[-1:]) == ["streamed"]


async def test_a_call_with_the_envelope_of_another_era_is_served_as_its_header_says(runner: RunnerProcess) -> None:
    """Claude's connectors send `_meta` of 2026-07-28 under a header of 2025-11-25; SDK servers on stdio refuse both."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "connector", "version": "1"},
    }
    async with open_relay([child("gateway_proxy.demo", "demo")], runner=str(runner.socket), runner_key=KEY) as relay:
        assert texts(await call(relay, "demo__add", {"arguments": {"a": 2, "b": 3}, "_meta": meta})) == ["5"]


async def test_a_stateful_child_goes_on_counting_in_another_worker_and_after_a_restart(runner: RunnerProcess) -> None:
    """issue 2, Done when: the count goes on, it does not restart; even when the session store was lost with it."""
    backend, clock = child("counter"), FakeClock()
    records = MemorySessionStore(clock)
    async with (
        open_relay([backend], clock=clock, records=records, runner=str(runner.socket), runner_key=KEY) as first,
        open_relay([backend], clock=clock, records=records, runner=str(runner.socket), runner_key=KEY) as second,
    ):
        for number, worker in enumerate([first, second, first, second], start=1):
            assert texts(await call(worker, "local__count")) == [str(number)]
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as restarted:
        assert texts(await call(restarted, "local__count")) == ["5"]


async def test_a_dead_child_costs_the_calls_in_flight_and_the_next_call_has_a_fresh_one(runner: RunnerProcess) -> None:
    """issue 3, deliverable 3: child crash mid-call gives that call an error and the next call a fresh child."""
    backend = child("worker")
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay:
        params = b'{"name":"x","arguments":{},"_meta":{"progressToken":1}}'
        messages = relay.calls.call(make_context(), LEGACY, name="local__wait", params=params)
        assert isinstance(await anext(messages), Notification)
        (victim,) = [p for p in runner.descendants() if p.cmdline()[-2:] == ["-m", "tests.support.children.worker"]]
        victim.kill()
        rest = [message async for message in messages]
        assert isinstance(rest[-1], Failure)
        assert rest[-1].code == -32000
        assert texts(await call(relay, "local__cancelled")) == ["0"]


async def test_closing_a_call_reaches_the_child_as_cancelled(runner: RunnerProcess) -> None:
    """relay.md 8: the closed stream reaches the backend."""
    backend = child("worker")
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay, asyncio.timeout(10):
        params = b'{"name":"x","arguments":{},"_meta":{"progressToken":1}}'
        messages = relay.calls.call(make_context(), LEGACY, name="local__wait", params=params)
        assert isinstance(await anext(messages), Notification)
        await messages.aclose()
        while texts(await call(relay, "local__cancelled")) != ["1"]:
            await asyncio.sleep(0.01)


async def test_many_interleaved_calls_of_two_users_on_one_child_keep_apart(runner: RunnerProcess) -> None:
    """issue 3, Done when: same ids and tokens, interleaved calls, each gets only its own."""
    backend, clock = child("worker"), FakeClock()
    records = MemorySessionStore(clock)
    async with (
        open_relay([backend], clock=clock, records=records, runner=str(runner.socket), runner_key=KEY) as first,
        open_relay([backend], clock=clock, records=records, runner=str(runner.socket), runner_key=KEY) as second,
    ):
        jobs = [
            _work(worker, make_context(user_id=user), number)
            for number, (worker, user) in enumerate([(first, "u1"), (second, "u2")] * 30)
        ]
        for number, (texts_found, progress) in enumerate(await asyncio.gather(*jobs)):
            assert texts_found == [f"text {number}"]
            assert progress == [number * 100.0, number * 100.0 + 1]


async def _work(relay: Relay, ctx: Any, number: int) -> tuple[list[str], list[float]]:
    arguments = {"text": f"text {number}", "text_number": number * 100, "steps": 2}
    messages = await call(relay, "local__work", {"arguments": arguments, "_meta": {"progressToken": 1}}, ctx=ctx)
    notes = [json.loads(message.raw)["params"] for message in messages if isinstance(message, Notification)]
    assert {note["progressToken"] for note in notes} <= {1}
    return texts(messages), [note["progress"] for note in notes]


async def test_a_caller_that_can_be_asked_has_a_child_of_its_own(runner: RunnerProcess) -> None:
    """relay.md 3: a caller that declares elicitation gets its own child; the others' child is told of no capability."""
    backend = child("asker")
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay, asyncio.timeout(20):
        answers = await asyncio.gather(
            *(_elicit(relay, structs.replace(RELAYING, session_id=session), session) for session in ("a", "b", "c"))
        )
        assert answers == ["a", "b", "c"]
        refused = json.loads(texts(await call(relay, "local__elicit", {"arguments": {"question": "who?"}}))[0])
        assert "error" in refused["told"]


async def _elicit(relay: Relay, caller: Any, question: str) -> str:
    found: list[RelayMessage] = []
    params = json.dumps({"name": "x", "arguments": {"question": question}}).encode()
    async for message in relay.calls.call(make_context(), caller, name="local__elicit", params=params):
        found.append(message)
        if isinstance(message, ServerRequest):
            asked = json.loads(message.params or b"")["message"]
            await message.answer(b'"result":{"action":"accept","content":{"asked":%b}}' % json.dumps(asked).encode())
    told = json.loads(texts(found)[0])
    return str(told["told"]["result"]["content"]["asked"])


@pytest.mark.parametrize("transport", [Transport.SSE, Transport.AUTO])
async def test_an_http_sse_backend_is_reached_through_the_runner(runner: RunnerProcess, transport: Transport) -> None:
    """contract.md: a bare url is streamable HTTP, falling back to SSE when the server answers 404 or 405 to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.support.sse_backend", str(port), "x-key", "secret"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        await _until_listening(port)
        url = f"http://127.0.0.1:{port}/sse"
        backend = http_backend(url, transport=transport, headers={"x-key": "secret"}, id=f"sse-{time.time_ns()}")
        clock = FakeClock()
        records = MemorySessionStore(clock)
        for _ in range(2):
            async with open_relay(
                [backend], clock=clock, records=records, runner=str(runner.socket), runner_key=KEY
            ) as relay:
                assert texts(await call(relay, "calc__add", {"arguments": {"a": 1, "b": 1}})) == ["2"]
    finally:
        process.kill()
        process.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


async def test_an_sse_url_to_a_private_address_is_refused_before_the_runner_hears_of_it(
    fake_runner: FakeRunner, tmp_path: Path
) -> None:
    """security.md E1: the runner may connect only to addresses that the guard has checked."""
    backend = http_backend("http://127.0.0.1:1/sse", transport=Transport.SSE, origin="tenant")
    async with open_relay([backend], runner=str(tmp_path / "s")) as relay:
        with pytest.raises(BackendUnavailable, match="calc"):
            await call(relay, "calc__echo")
    assert fake_runner.specs == []


async def test_a_child_that_starts_slowly_has_time_to_say_that_it_is_modern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MCP 2026-07-28, stdio, Backward Compatibility: within a reasonable time-out, and `npx` fetches first."""
    monkeypatch.setattr(handshake_room, "PROBE_TIMEOUT", 0.01)
    children: list[McpBackend] = []

    async def slowly(http: Http) -> None:
        await asyncio.sleep(0.2)
        await http.result({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})

    def make() -> McpBackend:
        children.append(demo_backend(handlers={"server/discover": slowly}, has_sessions=False))
        return children[-1]

    async with (
        serve(FakeRunner(make), unix=str(tmp_path / "s")),
        open_relay([stdio_backend()], runner=str(tmp_path / "s")) as relay,
    ):
        await call(relay, "local__echo", caller=MODERN)
    [(message, _)] = [called for child in children for called in child.calls("tools/call")]
    assert message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


async def test_a_silent_child_is_asked_for_its_era_twice_and_then_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers never answer what they do not know; each question starts one of them for nothing."""
    monkeypatch.setattr(handshake_room, "CHILD_PROBE_TIMEOUT", 0.01)
    asked = 0

    async def silent(http: Http) -> None:
        nonlocal asked
        asked += 1
        await http.until_gone()

    fake = FakeRunner(lambda: demo_backend(handlers={"server/discover": silent}))
    async with (
        serve(fake, unix=str(tmp_path / "s")),
        open_relay([stdio_backend()], runner=str(tmp_path / "s")) as relay,
    ):
        for _ in range(4):
            assert len(texts(await call(relay, "local__echo", caller=MODERN))) == 1
            relay.clock.advance(UNCLEAR_SECONDS)
    assert asked == 2


async def test_the_runner_is_told_everything_about_a_child_once(fake_runner: FakeRunner, tmp_path: Path) -> None:
    """relay.md 4: the gateway sends the full launch specification with an `ensure` call."""
    backend = stdio_backend(env={"A": "b"}, cwd="/x", encoding="latin-1", start_timeout=7.5)
    async with open_relay([backend], runner=str(tmp_path / "s")) as relay:
        await asyncio.gather(*(call(relay, "local__count") for _ in range(5)))
        await call(relay, "local__count", ctx=make_context(user_id="u2"))
    (spec,) = fake_runner.specs
    assert spec == {
        "tenant": "t1", "label": "local", "transport": "stdio", "command": "python", "args": ["server.py"],
        "env": {"A": "b"}, "cwd": "/x", "url": None, "headers": {}, "encoding": "latin-1",
        "encoding_error_handler": "strict", "start_timeout": 7.5, "idle_timeout": 900.0, "max_per_tenant": 20,
        "exclusive": False, "connect_to": None,
    }  # fmt: skip
    assert len(fake_runner.children) == 1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "bad_spec", "its definition was refused by the runner"),
        (403, "command_not_allowed", "its command is not on the runner's allow-list"),
        (429, "tenant_limit", "the tenant runs as many servers as it may"),
        (502, "start_failed", "it could not be started"),
        (503, "breaker_open", "it failed repeatedly and is left alone for a while"),
        (500, "?", "the runner refused it"),
    ],
)
async def test_what_the_runner_refuses_is_said_in_our_words(
    fake_runner: FakeRunner, tmp_path: Path, status: int, code: str, words: str
) -> None:
    """A clear reason for the tenant's administrators; nothing of the runner's detail."""
    fake_runner.refusal = (status, code)
    async with open_relay([stdio_backend()], runner=str(tmp_path / "s")) as relay:
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "local__echo")
        assert caught.value.reason == words
        (found,) = await relay.catalog.status(make_context())
        assert (found.state, found.problem) == ("failing", words)


async def test_a_child_that_ends_at_once_is_said_not_to_start(runner: RunnerProcess) -> None:
    """The runner's own refusals are no JSON-RPC errors of the child."""
    backend = stdio_backend("gone", id=f"gone-{time.time_ns()}", command=sys.executable, args=("-c", ""))
    async with open_relay([backend], runner=str(runner.socket), runner_key=KEY) as relay:
        with pytest.raises(BackendUnavailable) as caught:
            await call(relay, "gone__x")
        assert caught.value.reason == "it could not be started"


async def test_a_missing_runner_or_a_wrong_key_is_said_clearly(fake_runner: FakeRunner, tmp_path: Path) -> None:
    """Bad configuration is a clear error and no time-out."""
    for path, key, words in (
        (str(tmp_path / "none"), "runner-key", "the runner cannot be reached"),
        (str(tmp_path / "s"), "wrong", "the runner refused our key"),
        (None, "", "no runner is configured"),
    ):
        async with open_relay([stdio_backend()], runner=path, runner_key=key) as relay:
            with pytest.raises(BackendUnavailable) as caught:
                await call(relay, "local__echo")
            assert caught.value.reason == words


async def test_a_removed_backend_has_its_child_stopped(fake_runner: FakeRunner, tmp_path: Path) -> None:
    """compatibility.md B11: its tools vanish at once everywhere, and nothing goes on running for it."""
    async with open_relay([stdio_backend()], runner=str(tmp_path / "s")) as relay:
        await call(relay, "local__echo")
        relay.backends.clear()
        relay.clock.advance(LIFETIME)
        assert await relay.names() == []
        with pytest.raises(ToolUnknown):
            await call(relay, "local__echo")
        async with asyncio.timeout(5):
            while not fake_runner.stopped:
                await asyncio.sleep(0.005)
    assert fake_runner.children == {}


async def test_what_a_program_downloaded_is_forgotten_with_its_definition_and_not_with_an_edit(
    fake_runner: FakeRunner, tmp_path: Path
) -> None:
    """ADR 7, Caches: another revision starts warm; a server that is gone leaves nothing."""
    backend = stdio_backend()
    async with open_relay([backend, http_backend("http://127.0.0.1:1")], runner=str(tmp_path / "s")) as relay:
        await call(relay, "local__echo")
        relay.backends[:] = [stdio_backend(revision=2)]
        relay.clock.advance(LIFETIME)
        await call(relay, "local__echo")
        assert fake_runner.forgotten == []
        relay.backends.clear()
        relay.clock.advance(LIFETIME)
        assert await relay.names() == []
        async with asyncio.timeout(5):
            while not fake_runner.forgotten:
                await asyncio.sleep(0.005)
    assert fake_runner.forgotten == [{"tenant": "t1", "label": "local"}]


async def test_a_runner_that_was_killed_is_found_again_with_fresh_children(tmp_path: Path) -> None:
    """relay.md 4: a dead runner makes its upstream sessions re-open."""
    backend, clock = child("counter"), FakeClock()
    with running_runner(tmp_path) as first:
        async with open_relay([backend], clock=clock, runner=str(first.socket), runner_key=KEY) as relay:
            assert texts(await call(relay, "local__count")) == ["1"]
            os.kill(first.pid, signal.SIGKILL)
            psutil.Process(first.pid).wait(10)
            with pytest.raises((BackendUnavailable, BackendMisbehaved)):
                await call(relay, "local__count")
            with running_runner(tmp_path, at=first.socket):
                assert texts(await call(relay, "local__count")) == ["1"]
