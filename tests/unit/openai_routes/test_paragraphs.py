"""The texts of the rounds are paragraphs of one answer (compatibility A8)."""

from typing import Any

import pytest

from gateway_proxy.router.messages import Result
from openai_routes.shown_text import ShownText
from tests.support.llm.scripted import Said
from tests.support.llm.stage import Stage, stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "Look."}]
THEIRS = ("call_cli1a2b3c4", "shell", "{}")
SHELL: Any = {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False}


async def look(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool."""
    return text_result("seen")


LOOK = {"t__look": look}


def said(*texts: str) -> list[Said]:
    """A script whose every line but the last calls the tool."""
    calls = [Said(text, calls=[(f"call_a1b2c3d{n}", "t__look", "{}")]) for n, text in enumerate(texts[:-1])]
    return [*calls, Said(texts[-1])]


async def told(on: Stage, *, stream: bool, **more: Any) -> str:
    """The text of an answer of chat completions."""
    if stream:
        chunks = await on.chunks(messages=ASK, **more)
        assert all(len(chunk["choices"]) == 1 for chunk in chunks)
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    answer = await on.openai.chat.completions.create(model="helper", messages=ASK, **more)
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("let me", "RESULTS"), "let me\n\nRESULTS"),
        (("one", "two", "three"), "one\n\ntwo\n\nthree"),
        (("", "RESULTS"), "RESULTS"),
        (("let me", ""), "let me"),
        (("let me", "", "RESULTS"), "let me\n\nRESULTS"),
        (("let me\n", "RESULTS"), "let me\nRESULTS"),
        (("", ""), ""),
    ],
)
async def test_rounds_are_two_paragraphs_unless_one_is_empty(
    texts: tuple[str, ...], expected: str, stream: bool
) -> None:
    """Models say what they are about to do, and then what came of it; glued together it is hard to read."""
    async with stage(said(*texts), LOOK) as on:
        assert await told(on, stream=stream) == expected
        assert [m.get("content") for m in on.upstream.requests[-1]["messages"] if m["role"] == "assistant"] == [
            text or None for text in texts[:-1]
        ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("progress", ["none", "reasoning", "openwebui"])
async def test_the_text_is_the_same_however_tools_are_shown(progress: str, stream: bool) -> None:
    """Issue 4, progress: status lines and reasoning stand beside the text."""
    async with stage(said("let me", "RESULTS"), LOOK, options={"progress": progress}) as on:
        assert await told(on, stream=stream) == "let me\n\nRESULTS"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_note_of_a_spent_budget_is_a_paragraph_of_its_own(stream: bool) -> None:
    """openai-clients.md, recommended loop 5."""
    async with stage(said("one", "two", "three"), LOOK, max_tool_iterations=1) as on:
        assert await told(on, stream=stream) == "one\n\ntwo\n\n[The limit of 1 rounds of tool calls is reached.]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thought_that_was_not_closed_ends_with_its_round(stream: bool) -> None:
    """Compatibility A8, `<think>`: the next round is another message of the model."""
    texts = ("<think>a</think>let me <thi", "<think>b</think>RES", "<think>never closed", "ULTS")
    async with stage(said(*texts), LOOK, options={"strip_think": True}) as on:
        assert await told(on, stream=stream) == "let me <thi\n\nRES\n\nULTS"


def test_what_was_held_back_is_not_lost_when_nothing_follows() -> None:
    """The beginning of what might have become a tag is text after all."""
    shown = ShownText(strips_thoughts=True)
    assert shown.feed("let me <thi") == "let me "
    shown.end_round()
    assert shown.finish() == "<thi"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_has_the_rounds_as_paragraphs_of_one_message(stream: bool) -> None:
    """The Responses API in the same way; `output_text` is read by most."""
    async with stage(said("let me", "RESULTS", "more"), LOOK) as on:
        if stream:
            async with on.openai.responses.stream(model="helper", input="Go") as events:
                deltas = "".join([e.delta async for e in events if e.type == "response.output_text.delta"])
                answer: Any = await events.get_final_response()
            assert deltas == "let me\n\nRESULTS\n\nmore"
        else:
            answer = await on.openai.responses.create(model="helper", input="Go")
        assert [item.type for item in answer.output] == ["message"]
        assert answer.output_text == "let me\n\nRESULTS\n\nmore"


async def test_items_of_a_response_that_are_apart_need_no_break_and_are_kept_as_paragraphs() -> None:
    """Reasoning stands between the messages; who goes on from the response gets them apart as well."""
    script = [*said("let me", "RESULTS"), Said("Bye")]
    async with stage(script, LOOK, options={"progress": "reasoning"}) as on:
        answer: Any = await on.openai.responses.create(model="helper", input="Go")
        texts = [item.content[0].text for item in answer.output if item.type == "message"]
        assert texts == ["let me", "RESULTS"]
        await on.openai.responses.create(model="helper", input="And?", previous_response_id=answer.id)
        assert [m["content"] for m in on.upstream.requests[-1]["messages"]] == ["Go", "let me\n\nRESULTS", "And?"]


async def test_paragraphs_that_come_back_with_a_call_are_not_said_twice() -> None:
    """Issue 4, mixed batches: what was kept stands in their place."""
    script = [*said("let me", "")[:1], Said("then", calls=[THEIRS]), Said("Done")]
    async with stage(script, LOOK) as on:
        answer: Any = await on.openai.responses.create(model="helper", input="Go", tools=[SHELL], store=False)
        items: Any = [item.model_dump(exclude_none=True) for item in answer.output]
        history: Any = [
            {"role": "user", "content": "Go"},
            *items,
            {"type": "function_call_output", "call_id": THEIRS[0], "output": "a.txt"},
        ]
        await on.openai.responses.create(model="helper", input=history, tools=[SHELL], store=False)
        sent = on.upstream.requests[-1]["messages"]
        assert [m["content"] for m in sent] == ["Go", "let me", "seen", "then", "a.txt"]
