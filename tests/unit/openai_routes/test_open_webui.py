"""What Open WebUI sends and shows: tasks, tool cards, status lines (issue 4, progress and background tasks)."""

import html
from typing import Any

import msgspec
import pytest

from gateway_proxy.router.messages import Result
from openai_routes.cards import Card, split_cards
from openai_routes.own_tools import progress_text
from openai_routes.thoughts import ThoughtFilter
from tests.support.llm.scripted import Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "Go"}]
TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Guidelines: …"
TASK: Any = [{"role": "user", "content": TITLE}]
CALL = Said(calls=[("call_a1b2c3d4", "t__slow", '{"n":1}')])


async def slow(given: dict[str, Any], on_progress: OnProgress) -> Result:
    """A tool that says how far it is."""
    for n in (1, 2):
        params = {"progressToken": "call", "progress": n, "total": 2, "message": f"step {n}"}
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        await on_progress(msgspec.json.encode(note))
    return text_result("done")


TOOLS = {"t__slow": slow}


async def test_a_task_is_told_by_its_prompt_and_runs_without_tools_and_prompt() -> None:
    """openai-clients.md §0, 2: three of four requests of a first message are tasks."""
    async with stage([Said("Title")], TOOLS, system_prompt="Be a pirate.", options={"task_model": "small"}) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=TASK, max_tokens=1000)
        assert answer.choices[0].message.content == "Title"
        (sent,) = on.upstream.requests
        assert (sent["model"], sent["messages"]) == ("small", TASK)
        assert "tools" not in sent
        (event,) = await on.recorded()
        assert event.detail["task"] == "unnamed"


async def test_the_header_of_the_connection_decides_when_it_is_there() -> None:
    """`X-OpenWebUI-Task: {{TASK}}` is empty for the real chat."""
    async with stage([Said("a"), Said("b")], TOOLS) as on:
        named = {"x-openwebui-task": "title_generation"}
        await on.openai.chat.completions.create(model="helper", messages=ASK, extra_headers=named)
        await on.openai.chat.completions.create(model="helper", messages=TASK, extra_headers={"x-openwebui-task": ""})
        assert ["tools" in sent for sent in on.upstream.requests] == [False, True]


async def test_a_task_without_a_provider_gets_what_every_task_can_read() -> None:
    """A title must not become the list of tools."""
    async with stage([]) as on:
        answer = await on.http.post(
            "/v1/chat/completions", json={"model": "mcp-gateway", "messages": TASK}, headers={"x-test-tenant": "t2"}
        )
        content = msgspec.json.decode(answer.json()["choices"][0]["message"]["content"])
        assert content["title"]
        assert content["tags"] == content["follow_ups"] == []


async def test_by_default_nothing_of_the_tools_is_seen() -> None:
    """Issue 4, progress: off by default."""
    async with stage([CALL, Said("Done")], TOOLS) as on:
        chunks = await on.chunks(messages=ASK)
        assert [c["choices"][0]["delta"] for c in chunks] == [
            {"role": "assistant", "content": ""},
            {"content": "Done"},
            {},
        ]


async def test_as_reasoning_the_tools_are_lines_of_thought() -> None:
    """openai-clients.md, recommended loop 7: safe in all clients tested."""
    async with stage([CALL, Said("Done")], TOOLS, options={"progress": "reasoning"}) as on:
        chunks = await on.chunks(messages=ASK)
        lines = "".join(c["choices"][0]["delta"].get("reasoning_content", "") for c in chunks).splitlines()
        assert lines[:3] == ["Running t__slow…", "t__slow: step 1", "t__slow: step 2"]
        assert lines[3].startswith("t__slow finished after 0.")


async def test_for_open_webui_the_tools_are_status_events_inside_ordinary_chunks() -> None:
    """openai-clients.md §0, 5: an extra frame is a normal chunk with one choice; usage goes on the finish."""
    async with stage([CALL, Said("Done")], TOOLS) as on:
        answer = await on.http.post(
            "/v1/chat/completions",
            json={"model": "helper", "stream": True, "messages": ASK},
            headers={"x-gateway-progress": "openwebui"},
        )
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        chunks = [msgspec.json.decode(event) for event in events[:-1]]
        assert all(len(c["choices"]) == 1 for c in chunks)
        told = [c["event"]["data"] for c in chunks if "event" in c]
        assert [(t["description"], t["done"]) for t in told][:2] == [
            ("Running t__slow…", False),
            ("t__slow: step 1", False),
        ]
        assert told[-1]["done"] is True
        assert chunks[-1]["usage"]["total_tokens"] == 30


def card(name: str, arguments: str, result: str, *, done: str = "true") -> str:
    """A card as Open WebUI 0.12 writes it."""
    quoted = (html.escape(msgspec.json.encode(text).decode()) for text in (arguments, result))
    arguments, result = quoted
    return (
        f'<details type="tool_calls" done="{done}" id="call_x" name="{name}" arguments="{arguments}"'
        f' result="{result}" files="" embeds="">\n<summary>Tool Executed</summary>\n</details>\n'
    )


async def test_cards_that_come_back_become_the_calls_they_stand_for() -> None:
    """openai-clients.md §0, 6: sent back verbatim to the model next turn."""
    content = "Let me see.\n" + card("t__slow", '{"n":1}', "one <b>") + card("t__slow", "", "two") + "It is one."
    history: Any = [*ASK, {"role": "assistant", "content": content}, *ASK]
    async with stage([Said("x")], TOOLS) as on:
        await on.openai.chat.completions.create(model="helper", messages=history)
        sent = on.upstream.requests[0]["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "assistant", "user"]
        assert [m["content"] for m in sent] == ["Go", "Let me see.", "one <b>", "two", "It is one.", "Go"]
        assert [c["function"] for c in sent[1]["tool_calls"]] == [
            {"name": "t__slow", "arguments": '{"n":1}'},
            {"name": "t__slow", "arguments": "{}"},
        ]
        assert "<details" not in str(sent)


async def test_cards_are_left_out_where_no_tool_is_declared() -> None:
    """Providers refuse calls in the history where no tool is declared."""
    history: Any = [*ASK, {"role": "assistant", "content": card("a", "{}", "1") + "Yes."}, *ASK]
    async with stage([Said("x")], mcp_servers=()) as on:
        await on.openai.chat.completions.create(model="helper", messages=history)
        assert [m["content"] for m in on.upstream.requests[0]["messages"]] == ["Go", "Yes.", "Go"]


def test_cards_are_read_in_linear_time_and_unfinished_ones_left_out() -> None:
    """Security, incident 17: no backtracking over what comes from elsewhere."""
    assert list(split_cards("a" + card("n", "{}", "r", done="false") + "b")) == ["a", "b"]
    found = list(split_cards('<details type="tool_calls" name="x">' * 50_000))
    assert [type(piece) for piece in found] == [Card]
    reasoning = '<details type="reasoning" done="true" duration="1">\n<summary>Thought</summary>\n> x\n</details>\nHi'
    assert list(split_cards(reasoning)) == ["Hi"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"progress": 1, "total": 4}, "1 of 4"),
        ({"progress": 0.5}, "0.5"),
        ({"progress": 1, "message": "half\u202e\nway"}, "half way"),
        ({"message": 5}, ""),
    ],
)
def test_progress_becomes_one_line_of_plain_text(params: dict[str, Any], expected: str) -> None:
    """MCP 2025-11-25, Progress."""
    raw = msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    assert progress_text(raw) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_thoughts_are_taken_out_wherever_the_text_is_cut(size: int) -> None:
    """Compatibility A8: `<think>…</think>` can be stripped."""
    text = "<think>secret <b</think>\n\nHello <thin> world<think>more"
    thoughts = ThoughtFilter()
    pieces = [thoughts.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) + thoughts.finish() == "Hello <thin> world"


async def test_an_assistant_can_be_set_to_strip_thoughts() -> None:
    """Compatibility A8."""
    async with stage([Said("<think>hm</think>Yes"), Said("<think>hm</think>Yes")], options={"strip_think": True}) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Yes"
        chunks = await on.chunks(messages=ASK)
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Yes"
