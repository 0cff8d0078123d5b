"""POST /v1/responses over the same loop, read by the official SDK (issue 4, routes; openai-clients.md §2)."""

from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from pydantic import BaseModel

from gateway_proxy.router.messages import Result
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

THEIRS = ("call_cli1a2b3c4", "shell", '{"command":"ls"}')
OWN = ("call_own1a2b3c4", "calc__add", '{"a":2,"b":3}')
SHELL: Any = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False}


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"calc__add": add}


async def test_a_response_runs_our_tools_and_says_the_answer() -> None:
    """The loop is shared; usage is summed; the fields of the request are repeated."""
    async with stage([Said(calls=[OWN]), Said("It is five.", usage=(20, 7))], ADD) as on:
        answer = await on.openai.responses.create(
            model="helper", input="What is two and three?", instructions="Be brief.", temperature=0.5
        )
        assert answer.output_text == "It is five."
        assert (answer.status, answer.model, answer.temperature) == ("completed", "helper", 0.5)
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (30, 12, 42)
        sent = on.upstream.requests[0]
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert sent["temperature"] == 0.5


async def test_no_more_of_our_calls_are_run_than_the_client_allows() -> None:
    """OpenAI API reference, `max_tool_calls`: over all rounds, not per tool; the client's own tools do not count."""
    second = ("call_own5e6f7a8b", "calc__add", '{"a":1,"b":1}')
    third = ("call_own9c0d1e2f", "calc__add", '{"a":3,"b":3}')
    script = [Said(calls=[OWN]), Said(calls=[second, third]), Said("Enough.")]
    async with stage(script, ADD) as on:
        answer = await on.openai.responses.create(model="helper", input="Go", max_tool_calls=2)
        assert (answer.output_text, answer.max_tool_calls) == ("Enough.", 2)
        assert len(on.calls.made) == 2
        results = [m["content"] for m in on.upstream.requests[2]["messages"][-2:]]
        assert results[0] == "2"
        assert "was not run" in results[1]
        assert [r.get("tool_choice") for r in on.upstream.requests] == [None, None, "none"]

    async with stage([Said(calls=[OWN]), Said(calls=[second])], ADD) as on:
        answer = await on.openai.responses.create(model="helper", input="Go", max_tool_calls=1)
        assert answer.output_text == "[The limit of 1 tool calls is reached.]"
        assert len(on.calls.made) == 1


async def test_the_stream_helper_of_the_sdk_reads_every_event() -> None:
    """`responses.stream()` puts the response together from the events and checks them on the way."""
    script = [Said("Let me see. ", thinking="Hm.", calls=[OWN]), Said("Five.", thinking="Yes.", calls=[THEIRS])]
    async with stage(script, ADD) as on:
        kinds: list[str] = []
        numbers: list[int] = []
        async with on.openai.responses.stream(model="helper", input="Go", tools=[SHELL]) as stream:
            async for event in stream:
                kinds.append(event.type)
                numbers.append(event.sequence_number)
            final = await stream.get_final_response()
        assert numbers == list(range(len(numbers)))
        assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
        assert kinds[-1] == "response.completed"
        assert [item.type for item in final.output] == [
            "reasoning",
            "message",
            "reasoning",
            "message",
            "function_call",
        ]
        assert final.output_text == "Let me see. Five."
        call = final.output[-1]
        assert call.type == "function_call"
        assert (call.call_id, call.name, call.arguments) == THEIRS


async def _go_on(openai: AsyncOpenAI) -> None:
    history: Any = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": THEIRS[0], "name": "shell", "arguments": THEIRS[2]},
        {"type": "function_call_output", "call_id": THEIRS[0], "output": "a.txt"},
    ]
    await openai.responses.create(model="helper", input=history, tools=[SHELL], store=False)


async def test_a_mixed_batch_is_lossless_here_too() -> None:
    """Issue 4: our results are put in again; what Codex CLI sends back is items, not messages."""
    async with stage([Said(calls=[OWN, THEIRS]), Said("Done")], ADD) as on:
        await on.openai.responses.create(model="helper", input="Go", tools=[SHELL])
        await _go_on(on.openai)
        sent = on.upstream.requests[-1]["messages"]
        assert [(m["role"], m["content"]) for m in sent] == [
            ("user", "Go"),
            ("assistant", None),
            ("tool", "5"),
            ("tool", "a.txt"),
        ]


async def test_what_was_said_before_a_call_comes_back_once() -> None:
    """The texts of earlier rounds are items of their own here, and stand in what was kept as well."""
    first = Said("First. ", thinking="Hm.", calls=[OWN])
    async with stage([first, Said("Then. ", calls=[THEIRS]), Said("Done")], ADD) as on:
        answer = await on.openai.responses.create(model="helper", input="Go", tools=[SHELL], store=False)
        items: Any = [item.model_dump(exclude_none=True) for item in answer.output]
        output = {"type": "function_call_output", "call_id": THEIRS[0], "output": "a.txt"}
        history: Any = [{"role": "user", "content": "Go"}, *items, output]
        await on.openai.responses.create(model="helper", input=history, tools=[SHELL], store=False)
        sent = on.upstream.requests[-1]["messages"]
        assert [m["content"] for m in sent] == ["Go", "First. ", "5", "Then. ", "a.txt"]


async def test_a_choice_among_tools_is_translated() -> None:
    """OpenAI API reference, tool_choice: `allowed_tools`; hosted ones are left out."""
    async with stage([Said("Hi")], ADD) as on:
        choice: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "shell"}]}
        await on.openai.responses.create(model="helper", input="Go", tools=[SHELL], tool_choice=choice)
        assert on.upstream.requests[0]["tool_choice"]["allowed_tools"] == {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "shell"}}],
        }


async def test_a_conversation_goes_on_from_the_previous_response() -> None:
    """Stored state: bound to tenant and user, and only when the client did not refuse it."""
    async with stage([Said(calls=[THEIRS]), Said("Done"), Said("Bye")], ADD) as on:
        first = await on.openai.responses.create(model="helper", input="Go", instructions="One.", tools=[SHELL])
        output: Any = [{"type": "function_call_output", "call_id": THEIRS[0], "output": "a.txt"}]
        second = await on.openai.responses.create(
            model="helper", input=output, previous_response_id=first.id, instructions="Two.", tools=[SHELL]
        )
        sent = on.upstream.requests[-1]["messages"]
        assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool"]
        assert sent[0]["content"] == "Two."
        other = on.openai.with_options(default_headers={"x-test-user": "u2"})
        with pytest.raises(NotFoundError):
            await other.responses.create(model="helper", input="And?", previous_response_id=second.id)
        third = await on.openai.responses.create(
            model="helper", input="And?", previous_response_id=second.id, store=False
        )
        assert [m["content"] for m in on.upstream.requests[-1]["messages"]][-2:] == ["Done", "And?"]
        with pytest.raises(NotFoundError, match="send the whole conversation"):
            await on.openai.responses.create(model="helper", input="x", previous_response_id=third.id)
        with pytest.raises(NotFoundError):
            await on.openai.responses.retrieve(first.id)


async def test_free_text_tools_of_codex_are_carried_as_functions() -> None:
    """Codex CLI's apply_patch takes text after a grammar, which chat providers do not know."""
    patch: Any = {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    }
    hosted: Any = {"type": "web_search"}
    call = ("call_pat1a2b3c4", "apply_patch", '{"input":"*** Begin"}')
    async with stage([Said(calls=[call]), Said("Done")]) as on:
        answer = await on.openai.responses.create(model="helper", input="Go", tools=[patch, hosted])
        (item,) = answer.output
        assert item.type == "custom_tool_call"
        assert (item.call_id, item.input) == ("call_pat1a2b3c4", "*** Begin")
        (sent,) = on.upstream.requests[0]["tools"]
        assert "start: x" in sent["function"]["description"]
        history: Any = [
            {"role": "user", "content": "Go"},
            item.model_dump(),
            {"type": "custom_tool_call_output", "call_id": "call_pat1a2b3c4", "output": "ok"},
        ]
        await on.openai.responses.create(model="helper", input=history, tools=[patch])
        assert on.upstream.requests[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] == call[2]


async def test_parameters_get_the_names_that_chat_has_for_them() -> None:
    """Structured output, effort, limit and forced tools."""

    class Answer(BaseModel):
        value: int

    async with stage([Said('{"value": 5}'), Said("x")]) as on:
        parsed = await on.openai.responses.parse(
            model="helper", input="Go", text_format=Answer, max_output_tokens=50, reasoning={"effort": "low"}
        )
        assert parsed.output_parsed == Answer(value=5)
        sent = on.upstream.requests[0]
        assert sent["response_format"]["json_schema"]["name"] == "Answer"
        assert (sent["max_completion_tokens"], sent["reasoning_effort"]) == (50, "low")
        await on.openai.responses.create(
            model="helper", input="Go", tools=[SHELL], tool_choice={"type": "function", "name": "shell"}
        )
        assert on.upstream.requests[1]["tool_choice"] == {"type": "function", "function": {"name": "shell"}}


@pytest.mark.parametrize(
    ("reason", "expected"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_an_answer_that_was_cut_is_incomplete(reason: str, expected: str) -> None:
    """OpenAI API reference, incomplete_details."""
    async with stage([Said("Half", reason=reason)]) as on:
        answer = await on.openai.responses.create(model="helper", input="Go")
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == expected


async def test_a_stream_that_fails_ends_with_a_failed_response() -> None:
    """The client learns why, in an event that it knows."""
    events: Any = [{"choices": [{"delta": {"content": "Half"}}]}, "nonsense"]
    async with stage([Raw(events=events)]) as on:
        answer = await on.http.post("/v1/responses", json={"model": "helper", "input": "Go", "stream": True})
        frames = [msgspec.json.decode(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        if answer.status_code == 200:
            assert frames[-1]["type"] == "response.failed"
            assert frames[-1]["response"]["error"]["code"] == "provider_error"


async def test_without_a_provider_the_gateway_introduces_itself() -> None:
    """Compatibility C5 in the other shape."""
    async with stage([], ADD) as on:
        answer = await on.http.post(
            "/v1/responses", json={"model": "mcp-gateway", "input": "Tools?"}, headers={"x-test-tenant": "t2"}
        )
        assert "No tools are available" in answer.json()["output"][0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": "x"}, "'model'"),
        ({"model": "helper"}, "'input'"),
        ({"model": "helper", "input": 5}, "'input'"),
        ({"model": "helper", "input": ["x"]}, r"'input\[0\]'"),
        ({"model": "helper", "input": "x", "tools": [{"type": "function"}]}, r"'tools\[0\].name'"),
        ({"model": "helper", "input": "x", "background": True}, "'background'"),
        ({"model": "helper", "input": "x", "text": 5}, "'text'"),
        ({"model": "helper", "input": "x", "text": {"format": 5}}, "'text.format'"),
        ({"model": "helper", "input": "x", "prompt": {"id": "p"}}, "'prompt'"),
        ({"model": "helper", "input": "x", "temperature": "hot"}, "'temperature'"),
        ({"model": "helper", "input": "x", "tool_choice": "sometimes"}, "'tool_choice'"),
        ({"model": "helper", "input": [{"role": "wizard", "content": "x"}]}, r"'input\[0\].role'"),
        ({"model": "helper", "input": [{"role": "user", "content": 5}]}, r"'input\[0\].content'"),
        (
            {"model": "helper", "input": [{"type": "function_call_output", "output": "x"}]},
            r"'input\[0\].call_id'",
        ),
        ({"model": "helper", "input": "x", "max_output_tokens": "a"}, "'max_output_tokens'"),
        ({"model": "helper", "input": "x", "max_tool_calls": 0}, "'max_tool_calls'"),
        ({"model": "helper", "input": "x", "max_tool_calls": "a"}, "'max_tool_calls'"),
    ],
)
async def test_bad_input_names_the_field(body: Any, words: str) -> None:
    """Contract, Errors."""
    async with stage([]) as on:
        with pytest.raises(BadRequestError, match=words):
            await on.openai.post("/responses", body=body, cast_to=object)
