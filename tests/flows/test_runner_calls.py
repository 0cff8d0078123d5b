"""Story: many callers share one child behind the runner, and each gets exactly its own (relay.md 1, 3, 4)."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from tests.support.runner import (
    Hosted,
    RunnerProcess,
    call_message,
    child_spec,
    host,
    new_key,
    running_runner,
    status_of,
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One runner for the module."""
    with running_runner(tmp_path_factory.mktemp("runner")) as runner:
        yield runner


@pytest.fixture
async def http(runner: RunnerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with runner.open_http() as http:
        yield http


async def test_a_demo_tool_is_called_through_the_runner(http: httpx2.AsyncClient) -> None:
    """Issue 2, deliverables 5 and 9."""
    hosted = await host(http, child_spec("gateway_proxy.demo"))
    assert (await hosted.call("add", a=2, b=3)).text == "5"
    answer = await hosted.call("slow", token="my-token", seconds=0.05, steps=3)
    assert [m["params"]["progress"] for m in answer.messages[:-1]] == [1, 2, 3]
    assert {m["params"]["progressToken"] for m in answer.messages[:-1]} == {"my-token"}


async def test_initialize_is_forwarded_once_and_answered_to_all(http: httpx2.AsyncClient) -> None:
    """relay.md 4: one child, many workers that each shake hands."""
    hosted = await host(http, child_spec("counter"), initialize=False)
    answers = await asyncio.gather(*(hosted.initialize(request_id=f"worker-{n}") for n in range(10)))
    assert [answer.response["id"] for answer in answers] == [f"worker-{n}" for n in range(10)]
    assert len({json.dumps(answer.response["result"]) for answer in answers}) == 1


async def test_the_count_goes_on_for_another_client_connection(runner: RunnerProcess, http: httpx2.AsyncClient) -> None:
    """Issue 2: a worker that dies takes no child with it."""
    hosted = await host(http, child_spec("counter"))
    assert (await hosted.call("count")).text == "1"
    async with runner.open_http() as other:
        again = await host(other, child_spec("counter"), key=hosted.key)
        assert again.instance == hosted.instance
        assert (await again.call("count")).text == "2"


async def test_two_callers_with_the_same_id_and_token_get_only_their_own(
    runner: RunnerProcess, http: httpx2.AsyncClient
) -> None:
    """relay.md 1: two clients using id 1 and token 1."""
    hosted = await host(http, child_spec("worker"))
    async with runner.open_http() as second_http:
        second = Hosted(second_http, hosted.key, hosted.instance)
        ours, theirs = await asyncio.gather(
            hosted.call("work", request_id=1, token=1, text="ours", text_number=100, steps=5),
            second.call("work", request_id=1, token=1, text="theirs", text_number=200, steps=5),
        )
    assert (ours.text, theirs.text) == ("ours", "theirs")
    assert [m["params"]["progress"] for m in ours.messages[:-1]] == [100, 101, 102, 103, 104]
    assert [m["params"]["progress"] for m in theirs.messages[:-1]] == [200, 201, 202, 203, 204]
    assert {m["params"]["progressToken"] for m in ours.messages[:-1] + theirs.messages[:-1]} == {1}


async def test_fifty_concurrent_calls_on_one_child_are_multiplexed(http: httpx2.AsyncClient) -> None:
    """Issue 3: each of many interleaved calls gets its own answer and progress."""
    hosted = await host(http, child_spec("worker"))

    async def one(number: int) -> None:
        steps = random.Random(number).randrange(4)
        answer = await hosted.call(
            "work", request_id=number % 7, token="t", text=f"text {number}", text_number=number * 1000, steps=steps
        )
        assert answer.text == f"text {number}"
        assert answer.response["id"] == number % 7
        progressed = [m["params"]["progress"] for m in answer.messages[:-1]]
        assert progressed == [number * 1000 + step for step in range(steps)]

    await asyncio.gather(*(one(number) for number in range(50)))
    assert (await status_of(http, hosted.key))["calls_in_flight"] == 0


async def test_unknown_members_and_values_pass_byte_for_byte(http: httpx2.AsyncClient) -> None:
    """relay.md 1: what we do not know is not ours to drop or to rewrite."""
    hosted = await host(http, child_spec("worker"))
    body = (
        b'{"x-top":{"a":1.0},"jsonrpc":"2.0","id":"\\u00e4","method":"tools/call","params":\n{"name":"work",'
        b'"arguments":{"text":"\\ud83d\\ude00","n":1e400,"big":12345678901234567890},"_meta":{"x/y":[1,2]}}}'
    )
    response = await http.post(
        hosted.path, content=body.replace(b"1e400", b"1e3"), headers={**hosted.session, "content-type": "text/plain"}
    )
    assert b'"id":"\\u00e4"' in response.content
    echoed = response.json()["result"]["echoed"]
    assert echoed == {"text": "\U0001f600", "n": 1000.0, "big": 12345678901234567890}


async def test_a_caller_that_disconnects_cancels_its_call_and_no_other(http: httpx2.AsyncClient) -> None:
    """MCP 2025-11-25, Cancellation; relay.md 8."""
    hosted = await host(http, child_spec("worker"))
    async with asyncio.timeout(20):
        other = asyncio.create_task(hosted.call("wait", request_id=5))
        async with hosted.streaming_call(call_message("wait", request_id=5, token="t")) as messages:
            first = await anext(messages)
            assert first["params"]["progressToken"] == "t"
        while (await hosted.call("cancelled")).text != "1":
            await asyncio.sleep(0.02)
        assert not other.done()
        other.cancel()
        while (await hosted.call("cancelled")).text != "2":
            await asyncio.sleep(0.02)


async def test_cancelled_notification_is_translated_to_the_childs_id(http: httpx2.AsyncClient) -> None:
    """MCP 2025-11-25, Cancellation: requestId is the id that the child knows."""
    hosted = await host(http, child_spec("worker"))
    async with asyncio.timeout(20), hosted.streaming_call(call_message("wait", request_id="w", token="t")) as messages:
        await anext(messages)
        cancel = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": "w", "reason": "bored"},
        }
        assert (await hosted.post(cancel)).status == 202
        while (await hosted.call("cancelled")).text != "1":
            await asyncio.sleep(0.02)


async def test_list_changed_goes_to_get_streams_and_a_log_message_to_the_only_call(http: httpx2.AsyncClient) -> None:
    """relay.md 3, 7: a change concerns everybody; a log line during exactly one call belongs to it."""
    hosted = await host(http, child_spec("worker"))
    async with asyncio.timeout(20), hosted.stream() as first, hosted.stream() as second:
        answer = await hosted.call("announce")
        assert [m.get("method") for m in answer.messages] == ["notifications/message", None]
        for stream in (first, second):
            assert (await anext(stream))["method"] == "notifications/tools/list_changed"


async def test_a_question_travels_on_the_only_call_and_its_answer_back(http: httpx2.AsyncClient) -> None:
    """relay.md 3: elicitation over stdio, answered by another POST."""
    hosted = await host(http, child_spec("asker"))
    call = call_message("elicit", request_id=1, question="Sure?")
    async with asyncio.timeout(20), hosted.streaming_call(call) as messages:
        asked = await anext(messages)
        assert (asked["method"], asked["params"]["message"]) == ("elicitation/create", "Sure?")
        reply = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"x": 1}}}
        assert (await hosted.post(reply)).status == 202
        told = json.loads((await anext(messages))["result"]["content"][0]["text"])
        assert told["told"]["result"] == {"action": "accept", "content": {"x": 1}}
        assert (await hosted.post(reply)).status == 202  # a second answer reaches nobody


async def test_a_question_that_could_be_anybodys_is_refused_not_guessed(http: httpx2.AsyncClient) -> None:
    """relay.md 3: a server request that cannot be attributed is answered with an error."""
    hosted = await host(http, child_spec("asker"))
    async with asyncio.timeout(20):
        async with hosted.streaming_call(call_message("elicit", request_id=1, question="First?")) as messages:
            asked = await anext(messages)
            second = await hosted.call("elicit", request_id=2, question="Second?")
            assert len(second.messages) == 1
            assert "no single call" in json.loads(second.text)["told"]["error"]["message"]
            await hosted.post({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}})
            told = json.loads((await anext(messages))["result"]["content"][0]["text"])
            assert told["told"]["result"] == {"action": "decline"}


async def test_on_a_child_of_one_session_parallel_questions_are_passed_on(http: httpx2.AsyncClient) -> None:
    """A child that is declared exclusive has one caller, so any of its calls may carry the question."""
    hosted = await host(http, child_spec("asker", exclusive=True))

    async def ask(number: int) -> None:
        call = call_message("elicit", request_id=number, question=f"Q{number}")
        async with hosted.streaming_call(call) as messages:
            async for message in messages:
                if message.get("method") == "elicitation/create":
                    result = {"action": "accept", "content": {"for": message["params"]["message"]}}
                    await hosted.post({"jsonrpc": "2.0", "id": message["id"], "result": result})
                else:
                    told = json.loads(message["result"]["content"][0]["text"])
                    assert told["told"]["result"]["content"] == {"for": f"Q{number}"}

    async with asyncio.timeout(20):
        await asyncio.gather(*(ask(number) for number in range(10)))


async def test_a_ping_of_the_child_is_answered_by_the_runner(http: httpx2.AsyncClient) -> None:
    """MCP 2025-11-25, Ping: the receiver must answer promptly, whoever is connected."""
    hosted = await host(http, child_spec("asker"))
    answer = await hosted.call("ping")
    assert len(answer.messages) == 1
    assert json.loads(answer.text)["result"] == {}


async def test_noise_on_stdout_reaches_nobody_and_is_kept_for_the_operator(http: httpx2.AsyncClient) -> None:
    """relay.md 4: lines that are no JSON-RPC are counted; answers to ids that we did not mint are dropped."""
    hosted = await host(http, child_spec("babbler"))
    answer = await hosted.call("babble", token=987654)
    assert [message.get("id") for message in answer.messages] == [1]
    assert answer.text == "done"
    row = await status_of(http, hosted.key)
    assert row["garbage_lines"] == 5
    assert "Starting up..." in row["stderr"]


@pytest.mark.parametrize(
    ("encoding", "handler", "expected"),
    [("latin-1", "strict", "Grüße!"), ("utf-8", "replace", "Grüße�"), ("utf-8", "ignore", "Grüße")],
)
async def test_encoding_options_are_obeyed(
    http: httpx2.AsyncClient, encoding: str, handler: str, expected: str
) -> None:
    """compatibility.md B1: encoding and encoding_error_handler of a server."""
    spec = child_spec("babbler", encoding, encoding=encoding, encoding_error_handler=handler)
    hosted = await host(http, spec)
    assert (await hosted.call("speak", text="Grüße!", broken=handler != "strict")).text == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
        b'{"jsonrpc":"2.0"}',
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":5}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
async def test_a_body_that_is_no_message_is_a_400_and_harms_nobody(http: httpx2.AsyncClient, body: bytes) -> None:
    """security.md incident 15: malformed input ends that request only."""
    hosted = await host(http, child_spec("counter"), key="c" * 64)
    response = await http.post(hosted.path, content=body, headers=hosted.session)
    assert (response.status_code, response.json()["error"]) == (400, "bad_message")
    assert int((await hosted.call("count")).text) > 0


async def test_another_instance_id_is_session_gone(http: httpx2.AsyncClient) -> None:
    """Seam: any POST but initialize needs the id of the living instance."""
    hosted = await host(http, child_spec("counter"))
    for path, session in ((hosted.path, "0" * 32), (hosted.path, ""), (f"/children/{new_key()}/mcp", hosted.instance)):
        response = await http.post(path, json=call_message("count"), headers={"mcp-session-id": session})
        assert (response.status_code, response.json()["error"]) == (404, "session_gone")
