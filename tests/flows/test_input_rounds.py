"""Input that a backend needs in the middle of a call, across eras and workers: real backends, Redis, a real runner."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.mcp_endpoint.config import EndpointLimits
from tests.flows.test_server_requests import asking_backend
from tests.support.asgi import Reply
from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, text, tool
from tests.support.mcp_workers import CONFIG, Call, McpWorker, open_workers
from tests.support.relay_rooms import http_backend, make_context, stdio_backend
from tests.support.runner import KEY, ROOT, running_runner
from tests.unit.mcp_endpoint.conftest import META

ASK: dict[str, Any] = {"name": "calc__ask", "arguments": {"who": "ann", "methods": ["elicitation/create"]}}
ACCEPT = {"action": "accept", "content": {"n": 1.5}}
CAPABLE = {
    **META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
}  # fmt: skip


@asynccontextmanager
async def workers_on(
    backend: McpBackend, redis_url: str, clock: FakeClock, **limits: Any
) -> AsyncIterator[list[McpWorker]]:
    """Two workers on one backend called `calc`."""
    config = replace(CONFIG, limits=replace(CONFIG.limits, **limits)) if limits else CONFIG
    async with (
        serve(backend) as url,
        open_workers(redis_url, [http_backend(url)], clock, config=config) as workers,
    ):
        yield workers


async def modern_call(worker: McpWorker, params: dict[str, Any], *, user: str = "u1", **headers: str) -> Reply:
    """tools/call of a client of 2026-07-28."""
    return await worker.modern(make_context(user_id=user)).call("tools/call", {"_meta": CAPABLE, **params}, **headers)


def required(reply: Reply) -> tuple[str, dict[str, Any], str]:
    """The one question of an `input_required`: its key, itself, and the state."""
    message = reply.events[-1] if reply.is_stream else reply.json
    result = message["result"]
    assert result["resultType"] == "input_required", result
    [(key, question)] = result["inputRequests"].items()
    return key, question, result["requestState"]


def retry(params: dict[str, Any], key: str, state: str, answer: Any = None) -> dict[str, Any]:
    """The same request with the answer."""
    return {**params, "inputResponses": {key: ACCEPT if answer is None else answer}, "requestState": state}


def final_text(reply: Reply) -> str:
    """The text of a tool's result."""
    message = reply.events[-1] if reply.is_stream else reply.json
    assert message["result"]["resultType"] == "complete"
    found: str = message["result"]["content"][0]["text"]
    return found


async def test_a_client_that_writes_null_for_no_state_has_none(redis_url: str, clock: FakeClock) -> None:
    """2026-07-28, MRTR: the field is optional, and some serialisers write what is not there as null."""
    backend = demo_backend(modern=True)
    async with workers_on(backend, redis_url, clock) as (worker, _):
        params = {"name": "calc__echo", "arguments": {"a": 1}, "requestState": None, "inputResponses": None}
        assert json.loads(final_text(await modern_call(worker, params))) == {"a": 1}
    assert not {"requestState", "inputResponses"} & backend.calls("tools/call")[0][0]["params"].keys()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_modern_client_answers_at_another_worker_than_the_parked_one(
    redis_url: str, clock: FakeClock, elsewhere: bool
) -> None:
    """issue 3, Done when; relay.md 6: the backend sees one call, the client two requests."""
    backend = asking_backend()
    async with workers_on(backend, redis_url, clock) as (first, second):
        params = {**ASK, "arguments": {"who": "ann", "methods": ["elicitation/create", "roots/list"]}}
        key, question, state = required(await modern_call(first, params))
        assert question == {"method": "elicitation/create", "params": {"message": "ann", "x-vendor": 1.5}}
        next_worker = second if elsewhere else first
        key, question, state = required(await modern_call(next_worker, retry(params, key, state)))
        assert question["method"] == "roots/list"
        reply = await modern_call(next_worker, retry(params, key, state, {"roots": []}))
        assert json.loads(final_text(reply)) == [ACCEPT, {"roots": []}]
        assert len(backend.calls("tools/call")) == 1
        assert len(first.endpoint._parked_calls) == 0


async def test_progress_and_a_large_result_come_back_from_the_worker_that_holds_the_call(
    redis_url: str, clock: FakeClock
) -> None:
    """A result may be larger than a letter; what comes before it keeps its place."""
    backend = asking_backend()
    answered = asyncio.Event()
    large = "é" * 1_200_000

    async def ask(http: Http) -> None:
        await http.event({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
        await answered.wait()
        await http.progress(1)
        await http.result(text(large))

    async def hear(http: Http) -> None:
        answered.set()
        await http.raw(202, b"")

    backend.tools["large"] = ask
    backend.handlers[""] = hear
    async with workers_on(backend, redis_url, clock) as (first, second):
        params = {"name": "calc__large", "_meta": {**CAPABLE, "progressToken": "p"}}
        key, _, state = required(await modern_call(first, params))
        reply = await modern_call(second, retry(params, key, state))
        assert [event.get("method", "result") for event in reply.events] == ["notifications/progress", "result"]
        assert final_text(reply) == large


async def test_a_dead_worker_is_a_clear_error_and_never_a_second_run(redis_url: str, clock: FakeClock) -> None:
    """relay.md 6."""
    backend = asking_backend()
    async with workers_on(backend, redis_url, clock) as (first, second):
        key, _, state = required(await modern_call(first, ASK))
        await first.stack.aclose()
        reply = await modern_call(second, retry(ASK, key, state))
        assert reply.json["error"]["code"] == -32000
        assert "gone" in reply.json["error"]["message"]
        assert len(backend.calls("tools/call")) == 1


async def test_a_state_is_good_once_for_its_user_and_its_request(redis_url: str, clock: FakeClock) -> None:
    """The state comes from outside: altered, foreign, spent and misapplied ones are all refused with -32602."""
    backend = asking_backend()
    async with workers_on(backend, redis_url, clock) as (first, second):
        key, _, state = required(await modern_call(first, ASK))
        altered = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
        other = {**ASK, "arguments": {"who": "bob", "methods": ["elicitation/create"]}}
        for worker in (first, second):
            for reply in (
                await modern_call(worker, retry(ASK, key, altered)),
                await modern_call(worker, retry(ASK, key, "not a state")),
                await modern_call(worker, {**ASK, "requestState": 7}),
                await modern_call(worker, retry(ASK, key, state), user="u2"),
                await modern_call(worker, retry({**ASK, "name": "calc__echo"}, key, state)),
                await modern_call(worker, retry(other, key, state)),
                await modern_call(worker, retry(ASK, key, state, [1])),
            ):
                message = reply.events[-1] if reply.is_stream else reply.json
                assert message["error"]["code"] == -32602, message
        again, _, state = required(await modern_call(second, {**ASK, "requestState": state}))
        assert again == key
        assert json.loads(final_text(await modern_call(second, retry(ASK, key, state)))) == [ACCEPT]
        for worker in (first, second):
            spent = await modern_call(worker, retry(ASK, key, state))
            assert (spent.events[-1] if spent.is_stream else spent.json)["error"]["code"] == -32602
        assert len(backend.calls("tools/call")) == 1


async def test_parked_calls_are_capped_per_user_and_end_after_a_while(redis_url: str, clock: FakeClock) -> None:
    """relay.md 6: time to live and a cap; an ended call is cancelled at the backend."""
    backend = asking_backend()
    async with workers_on(backend, redis_url, clock, parked_per_user=2, parked_seconds=1.0) as (first, _):
        asked = [required(await modern_call(first, ASK)) for _ in range(3)]
        assert len(first.endpoint._parked_calls) == 2
        key, _, state = asked[0]
        assert (await modern_call(first, retry(ASK, key, state))).json["error"]["code"] == -32602
        async with asyncio.timeout(10):
            while len(first.endpoint._parked_calls) or len(backend.calls("notifications/cancelled")) < 3:
                await asyncio.sleep(0.02)
        key, _, state = asked[2]
        assert (await modern_call(first, retry(ASK, key, state))).json["error"]["code"] == -32602


async def test_a_client_that_leaves_ends_its_call_at_the_other_worker(redis_url: str, clock: FakeClock) -> None:
    """MCP 2026-07-28: cancelling is closing the stream, wherever the call is held."""
    backend = asking_backend()
    heard = asyncio.Event()

    async def ask(http: Http) -> None:
        await http.event({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
        await http.until_gone()

    async def hear(http: Http) -> None:
        heard.set()
        await http.raw(202, b"")

    backend.tools["endless"] = ask
    backend.handlers[""] = hear
    async with workers_on(backend, redis_url, clock) as (first, second):
        params = {"name": "calc__endless", "_meta": CAPABLE}
        key, _, state = required(await modern_call(first, params))
        conversation = second.modern().begin("tools/call", retry(params, key, state))
        async with asyncio.timeout(10):
            await heard.wait()
            conversation.hang_up()
            await conversation.task
            while not backend.calls("notifications/cancelled"):
                await asyncio.sleep(0.02)


async def test_a_stdio_backend_asks_a_modern_client_across_workers(
    redis_url: str, clock: FakeClock, tmp_path: Path
) -> None:
    """The same with a child of the runner."""
    backend = stdio_backend(command=sys.executable, args=("-m", "tests.support.children.asker"), cwd=str(ROOT), env={})
    with running_runner(tmp_path) as runner:
        async with open_workers(redis_url, [backend], clock, runner=str(runner.socket), runner_key=KEY) as workers:
            first, second = workers
            params = {"name": "local__elicit", "arguments": {"question": "why"}}
            key, question, state = required(await modern_call(first, params))
            assert question["params"]["message"] == "why"
            told = json.loads(final_text(await modern_call(second, retry(params, key, state))))
            assert told["told"]["result"] == ACCEPT


def modern_backend(rounds: Callable[[dict[str, Any]], dict[str, Any]]) -> McpBackend:
    """A backend of 2026-07-28 whose tool `ask` answers with what `rounds` says to the params."""
    backend = demo_backend(modern=True)

    async def ask(http: Http) -> None:
        await http.progress(1)
        await http.result(rounds(http.params))

    backend.tools["ask"] = ask
    return backend


def two_rounds(params: dict[str, Any]) -> dict[str, Any]:
    """Asks for an elicitation, then for two things at once, then tells what it heard."""
    responses = params.get("inputResponses")
    if responses is None:
        question = {"method": "elicitation/create", "params": {"message": "who", "x": 1.0}}
        return {"resultType": "input_required", "inputRequests": {"a": question}, "requestState": "one"}
    if params["requestState"] == "one":
        asked = {"b": {"method": "sampling/createMessage", "params": {"maxTokens": 1}}, "c": {"method": "roots/list"}}
        state = "two " + json.dumps(responses)
        return {"resultType": "input_required", "inputRequests": asked, "requestState": state}
    assert params["requestState"].startswith("two ")
    return {**text(json.dumps([params["requestState"], responses])), "resultType": "complete"}


async def test_a_legacy_client_is_asked_in_the_place_of_a_modern_backend(redis_url: str, clock: FakeClock) -> None:
    """relay.md 6: the gateway answers `input_required` by asking its client, and sends the request again."""
    backend = modern_backend(two_rounds)
    async with workers_on(backend, redis_url, clock) as (first, second):
        session_id = await first.open_session({"elicitation": {}, "sampling": {}, "roots": {}})
        clients = [first.client(session_id=session_id), second.client(session_id=session_id)]
        call = Call(clients, lambda question: {"for": question["method"]})
        events = await call.run("calc__ask", {}, token="t")
        state, responses = json.loads(events[-1]["result"]["content"][0]["text"])
        assert json.loads(state[4:]) == {"a": {"for": "elicitation/create"}}
        assert responses == {"b": {"for": "sampling/createMessage"}, "c": {"for": "roots/list"}}
        assert [question["method"] for question in call.asked] == [
            "elicitation/create", "sampling/createMessage", "roots/list",
        ]  # fmt: skip
        assert call.asked[0]["params"] == {"message": "who", "x": 1.0}
        assert all(each["params"]["progressToken"] == "t" for each in events if "progress" in each.get("method", ""))


async def test_a_legacy_client_that_refuses_ends_the_call_with_its_error(redis_url: str, clock: FakeClock) -> None:
    """There is no way to tell a modern backend of an error; its client hears what it said itself."""
    async with workers_on(modern_backend(two_rounds), redis_url, clock) as (first, _):
        session_id = await first.open_session({"elicitation": {}})
        client = first.client(session_id=session_id)
        conversation = client.begin(
            {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "calc__ask", "arguments": {}}}
        )
        await conversation.until_body(b"elicitation/create")
        question = json.loads(conversation.seen[-1]["body"].split(b"data: ")[1])
        await client.post({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -7, "message": "no"}})
        assert (await conversation.reply()).events[-1]["error"] == {"code": -7, "message": "no"}


async def test_a_legacy_client_that_cannot_be_asked_is_told_what_it_lacks(redis_url: str, clock: FakeClock) -> None:
    """-32021: the backend needs a capability that the client does not have."""
    async with workers_on(modern_backend(two_rounds), redis_url, clock) as (first, _):
        reply = await first.client().call("tools/call", {"name": "calc__ask", "arguments": {}})
        assert reply.json["error"]["code"] == -32021


async def test_a_modern_backend_that_asks_for_ever_is_stopped(redis_url: str, clock: FakeClock) -> None:
    """issue 3, 5: bounded time, a clear error."""

    def endless(params: dict[str, Any]) -> dict[str, Any]:
        return {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}

    async with workers_on(modern_backend(endless), redis_url, clock) as (first, _):
        session_id = await first.open_session({"roots": {}})
        call = Call([first.client(session_id=session_id)], lambda _: {"roots": []})
        events = await call.run("calc__ask", {})
        assert events[-1]["error"]["code"] == -32003
        assert len(call.asked) == 16


async def test_a_modern_backends_state_passes_sealed_and_comes_back_as_it_was(redis_url: str, clock: FakeClock) -> None:
    """issue 3, 1: `input_required` with a `requestState` that is ours to seal; any worker, tampered ones refused."""
    backend = modern_backend(two_rounds)
    async with workers_on(backend, redis_url, clock) as (first, second):
        params = {"name": "calc__ask", "arguments": {}}
        key, question, state = required(await modern_call(first, params))
        assert question["params"] == {"message": "who", "x": 1.0}
        assert "one" not in state
        for bad in (state[:-2] + ("AA" if state[-2:] != "AA" else "BB"), "one"):
            assert (await modern_call(second, retry(params, key, bad))).json["error"]["code"] == -32602
        assert (await modern_call(second, retry(params, key, state), user="u2")).status == 400
        assert len(backend.calls("tools/call")) == 1
        reply = await modern_call(second, retry(params, key, state))
        result = (reply.events[-1] if reply.is_stream else reply.json)["result"]
        assert set(result["inputRequests"]) == {"b", "c"}
        answers = {"inputResponses": {"b": {"x": 1}, "c": {}}, "requestState": result["requestState"]}
        told, responses = json.loads(final_text(await modern_call(first, {**params, **answers})))
        assert json.loads(told[4:]) == {key: ACCEPT}
        assert responses == {"b": {"x": 1}, "c": {}}


async def test_arguments_that_travel_as_headers_are_checked_and_passed_on(redis_url: str, clock: FakeClock) -> None:
    """MCP 2026-07-28, Custom Headers: -32020 before the backend hears of it; the backend gets its own headers."""
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "at": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
        },
    }
    backend = demo_backend(modern=True)
    backend.definitions = [tool("echo", inputSchema=schema), tool("count")]
    async with workers_on(backend, redis_url, clock) as (first, _):
        params = {"name": "calc__echo", "arguments": {"region": "zürich", "at": {"n": 7}}}
        sent = {"mcp_param_region": "=?base64?esO8cmljaA==?=", "mcp_param_n": "7.0"}
        for wrong in (
            {},
            {"mcp_param_region": "zurich", "mcp_param_n": "7"},
            {**sent, "mcp_param_n": "8"},
            {**sent, "mcp_param_region": "=?base64?!?="},
        ):
            reply = await modern_call(first, params, **wrong)
            assert (reply.status, reply.json["error"]["code"]) == (400, -32020)
        surplus = await modern_call(first, {"name": "calc__echo", "arguments": {}}, mcp_param_n="7")
        assert surplus.json["error"]["code"] == -32020
        assert not backend.calls("tools/call")
        assert (await modern_call(first, params, **sent)).status == 200
        assert (await first.client().call("tools/call", params)).status == 200
        for _, headers in backend.calls("tools/call"):
            assert headers["mcp-param-region"] == "=?base64?esO8cmljaA==?="
            assert headers["mcp-param-n"] == "7"
        assert (await modern_call(first, {"name": "calc__count"}, mcp_param_other="x")).status == 200


def test_the_limits_are_those_of_the_design() -> None:
    """relay.md 6."""
    assert (EndpointLimits().parked_seconds, EndpointLimits().parked_per_user) == (300.0, 16)
