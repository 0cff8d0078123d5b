"""What Open WebUI 0.12.4 really sends, recorded by `scripts/open-webui --record`, and how it is answered (issue 4)."""

import json
from typing import Any, Final

import pytest

from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.router.messages import Result
from gateway_proxy.storage.redis.client import open_redis
from openai_routes.kept_turns import RedisTurns
from tests.support.llm.recorded import FOLDER, recorded
from tests.support.llm.scripted import Said
from tests.support.llm.stage import Stage, definition, stage
from tests.support.llm.surface import OnProgress, text_result

CHATS: Final = (
    "chat",
    "chat_second_turn",
    "chat_with_results",
    "chat_after_results",
    "chat_with_cards",
    "chat_with_mcp_tools",
    "direct_chat",
)
TASKS: Final = ("task_title", "task_follow_up", "task_tags")
OWN: Final = ("call_own1a2b3c4", "demo__add", '{"a":2,"b":3}')
THEIRS: Final = ("call_cli1a2b3c4", "get_current_timestamp", "{}")
MIXED: Final = Said("Both. ", calls=[OWN, THEIRS])


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"demo__add": add}


async def replay(on: Stage, name: str, **more: Any) -> Any:
    """Send a recorded request as it was; the answer."""
    sent = recorded(name)
    body = {**sent.body, **more}
    return await on.http.request(sent.method, sent.path, headers=sent.headers, content=json.dumps(body))


def names(tools: list[dict[str, Any]]) -> list[str]:
    """The names of function tools."""
    return [tool["function"]["name"] for tool in tools]


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("name", TASKS)
async def test_a_background_task_never_runs_the_loop(name: str, has_header: bool) -> None:
    """openai-clients.md §0, 2: told by the connection's header, and by the prompt where nobody set it."""
    sent = recorded(name)
    headers = {key: value for key, value in sent.headers.items() if has_header or key != "x-openwebui-task"}
    async with stage([MIXED, MIXED], ADD, system_prompt="Be a pirate.") as on:
        answer = await on.http.post(sent.path, headers=headers, content=json.dumps(sent.body))
        assert answer.json()["choices"][0]["message"]["content"] == "Both. "
        (asked,) = on.upstream.requests
        assert asked["messages"] == sent.body["messages"]
        assert "tools" not in asked
        assert on.calls.made == []
        (event,) = await on.recorded()
        assert event.detail["task"] == (sent.headers["x-openwebui-task"] if has_header else "unnamed")


@pytest.mark.parametrize("name", CHATS)
async def test_a_chat_is_no_task_and_its_tools_stand_beside_ours(name: str) -> None:
    """openai-clients.md §0, 1: 36 tools with every chat; 6 of a tool server when the API is called."""
    async with stage([Said("Hi")], ADD) as on:
        answer = await replay(on, name)
        assert answer.text.endswith("data: [DONE]\n\n")
        theirs = names(recorded(name).body["tools"])
        assert len(theirs) == (6 if name == "chat_with_mcp_tools" else 36)
        assert names(on.upstream.requests[0]["tools"]) == [*theirs, "demo__add"]
        (event,) = await on.recorded()
        assert event.detail["task"] is None


@pytest.mark.parametrize("name", CHATS)
async def test_the_strictest_reader_reads_every_stream(name: str) -> None:
    """openai-clients.md §2: `chat.completions.stream()` asserts every chunk; with status lines among them."""
    sent = recorded(name)
    body = {key: value for key, value in sent.body.items() if key != "stream"}
    theirs = ("call_cli1a2b3c4", names(body["tools"])[0], '{"x":1}')
    async with stage([Said("Adding. ", calls=[OWN]), Said("Both. ", calls=[OWN, theirs])], ADD) as on:
        async with on.openai.chat.completions.stream(**body, extra_headers=sent.headers) as stream:
            final = await stream.get_final_completion()
        message = final.choices[0].message
        assert message.content == "Adding. \n\nBoth. "
        assert [(call.id, call.function.name) for call in message.tool_calls or []] == [theirs[:2]]


async def test_a_mixed_batch_is_lossless_at_another_worker_and_nobody_elses(redis_url: str) -> None:
    """Issue 4, done when: the second POST as Open WebUI sends it; another user's token gets nothing of it."""
    asked = recorded("chat_with_results").body["messages"]
    assert [message["role"] for message in asked[-3:]] == ["user", "assistant", "tool"]
    one, two = open_redis(redis_url), open_redis(redis_url)
    async with (
        stage([MIXED], ADD, turns=RedisTurns(one, SystemClock())) as here,
        stage([Said("No"), Said("Five.")], ADD, turns=RedisTurns(two, SystemClock())) as there,
    ):
        await replay(here, "chat_with_results", messages=asked[:-2])
        there.http.headers["x-test-user"] = "u2"
        await replay(there, "chat_with_results")
        assert [message["role"] for message in there.upstream.requests[0]["messages"]] == [m["role"] for m in asked]
        there.http.headers["x-test-user"] = "u1"
        await replay(there, "chat_with_results")
        got = there.upstream.requests[1]["messages"]
        assert got[: len(asked) - 2] == asked[:-2]
        assert [message["role"] for message in got[-3:]] == ["assistant", "tool", "tool"]
        assert [call["id"] for call in got[-3]["tool_calls"]] == [OWN[0], THEIRS[0]]
        assert [message["content"] for message in got[-2:]] == ["5", asked[-1]["content"]]
        assert there.calls.made == []
    await one.aclose()
    await two.aclose()


async def test_cards_are_understood_as_the_calls_they_show() -> None:
    """openai-clients.md §0, 6: they come back verbatim in the text of the next turn."""
    assert "<details" in str(recorded("chat_with_cards").body)
    async with stage([Said("Hi")], ADD) as on:
        await replay(on, "chat_with_cards")
        got = on.upstream.requests[0]["messages"]
        assert "<details" not in str(got)
        calling, result, text, question = got[-4:]
        assert [call["function"] for call in calling["tool_calls"]] == [{"name": "demo__add", "arguments": OWN[2]}]
        assert (result["role"], result["content"]) == ("tool", "5")
        assert (text["content"], question["role"]) == ("Two and three are five.", "user")


async def test_results_of_earlier_turns_stay_as_they_are() -> None:
    """The turn after Open WebUI ran a tool of its own carries the call and its result as messages."""
    async with stage([Said("Hi")], ADD) as on:
        await replay(on, "chat_after_results")
        assert on.upstream.requests[0]["messages"] == recorded("chat_after_results").body["messages"]


async def test_its_own_connection_to_our_tools_stays_its_own() -> None:
    """`gw_demo__add` is a tool of the client, though it leads back here: the client runs it."""
    call = ("call_cli1a2b3c4", "gw_demo__add", OWN[2])
    async with stage([Said(calls=[call])], ADD) as on:
        answer = await replay(on, "chat_with_mcp_tools", stream=False)
        (given,) = answer.json()["choices"][0]["message"]["tool_calls"]
        assert given["function"]["name"] == "gw_demo__add"
        assert on.calls.made == []


async def test_a_connection_set_to_responses_runs_the_same_loop() -> None:
    """openai-clients.md §1a, Responses: flat tools and input items."""
    async with stage([Said(calls=[OWN]), Said("Five.")], ADD) as on:
        answer = await replay(on, "responses")
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        assert events[-1]["type"] == "response.completed"
        assert events[-1]["response"]["output"][-1]["content"][0]["text"] == "Five."
        theirs = [tool["name"] for tool in recorded("responses").body["tools"]]
        assert names(on.upstream.requests[0]["tools"]) == [*theirs, "demo__add"]


async def test_thirty_six_tools_beside_two_hundred_of_ours_stay_within_the_limit() -> None:
    """Issue 4, done when: 200 tools, 36 client tools beside ours; every one of the client's is kept."""
    many = [definition(f"s{server}__t{number}") for server in range(20) for number in range(10)]
    async with stage([Said("Hi")], {}, definitions=many) as on:
        await replay(on, "chat")
        offered = names(on.upstream.requests[0]["tools"])
        assert len(offered) <= 128
        assert offered[:36] == names(recorded("chat").body["tools"])
        assert offered[-2:] == ["search_tools", "call_tool"]


def test_nothing_secret_was_recorded() -> None:
    """The files are public."""
    text = "".join(path.read_text() for path in FOLDER.glob("*.json"))
    assert "gw_pat_" not in text
    assert "uthorization: " not in text
