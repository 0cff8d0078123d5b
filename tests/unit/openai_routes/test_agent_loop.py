"""The rounds of a chat over a scripted OpenAI provider, read by the official SDK (issue 4, the loop)."""

import asyncio
import re
from typing import Any

import pytest
from openai import APIError, APIStatusError, InternalServerError, NotFoundError

from gateway_proxy.domain.errors import BackendTimeout
from gateway_proxy.router.messages import Failure, Result
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import definition, stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "What is two and three?"}]


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"calc__add": add}
CALL_ADD = Said(calls=[("call_a1b2c3d4", "calc__add", '{"a":2,"b":3}')], usage=(10, 5))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_runs_between_two_rounds_and_the_client_sees_one_answer(stream: bool) -> None:
    """Compatibility A8, A9, D6, D8: rounds are invisible, usage is summed."""
    async with stage([CALL_ADD, Said("It is five.", usage=(20, 7))], ADD) as on:
        if stream:
            chunks = await on.chunks(messages=ASK, stream_options={"include_usage": True})
            text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
            usage = chunks[-1]["usage"]
            finishes = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
            assert [finish for finish in finishes if finish] == ["stop"]
            assert sum("role" in c["choices"][0]["delta"] for c in chunks if c["choices"]) == 1
            assert not any("tool_calls" in c["choices"][0]["delta"] for c in chunks if c["choices"])
            assert {(c["id"], c["created"], c["model"]) for c in chunks} == {
                (chunks[0]["id"], chunks[0]["created"], "helper")
            }
        else:
            answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
            text, usage = answer.choices[0].message.content or "", (answer.usage and answer.usage.model_dump()) or {}
            assert answer.model == "helper"
            assert answer.choices[0].message.tool_calls is None
        assert text == "It is five."
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (30, 12, 42)
        assert on.calls.made == [("calc__add", {"a": 2, "b": 3})]
        second = on.upstream.requests[1]["messages"]
        assert second[-2]["tool_calls"][0]["function"] == {"name": "calc__add", "arguments": '{"a":2,"b":3}'}
        assert second[-1] == {"role": "tool", "tool_call_id": "call_a1b2c3d4", "content": "5"}


async def test_the_provider_gets_its_own_key_and_nothing_of_the_caller() -> None:
    """Security RS3; compatibility D1: default_headers."""
    async with stage([Said("Hi")], provider={"default_headers": {"X-Team": "blue"}}) as on:
        await on.openai.chat.completions.create(
            model="helper", messages=ASK, extra_headers={"cookie": "a=b", "x-forwarded-for": "1.2.3.4"}
        )
        sent = on.upstream.headers[0]
        assert sent["authorization"] == "Bearer sk-upstream"
        assert sent["x-team"] == "blue"
        assert not {"cookie", "x-forwarded-for", "x-api-key"} & set(sent)
        assert "gw_pat_x" not in str(sent)


async def test_defaults_give_way_to_the_client_and_extra_body_is_merged_last() -> None:
    """Compatibility D4, D5."""
    async with stage(
        [Said("Hi"), Said("Hi")],
        system_prompt="Be kind.",
        temperature=0.2,
        max_tokens=100,
        extra_body={"top_k": 3, "seed": 1},
    ) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK, temperature=0.9, seed=7, user="ann")
        sent = on.upstream.requests[0]
        assert (sent["temperature"], sent["max_tokens"], sent["top_k"], sent["seed"]) == (0.9, 100, 3, 1)
        assert sent["model"] == "gpt-4o"
        assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
        own: Any = [{"role": "system", "content": "Be mean."}, *ASK]
        await on.openai.chat.completions.create(model="helper", messages=own, max_completion_tokens=5)
        assert on.upstream.requests[1]["messages"] == own
        assert "max_tokens" not in on.upstream.requests[1]


async def test_calls_of_one_turn_run_at_once_and_results_keep_their_order() -> None:
    """Compatibility D6."""
    first_runs = asyncio.Event()

    async def slow(given: dict[str, Any], _: OnProgress) -> Result:
        await first_runs.wait()
        return text_result("slow")

    async def quick(given: dict[str, Any], _: OnProgress) -> Result:
        first_runs.set()
        return text_result("quick")

    calls = [("call_a1b2c3d4", "t__slow", ""), ("call_e1f2a3b4", "t__quick", "{}")]
    async with stage([Said(calls=calls), Said("Done")], {"t__slow": slow, "t__quick": quick}) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        results = on.upstream.requests[1]["messages"][-2:]
        assert [(r["tool_call_id"], r["content"]) for r in results] == [
            ("call_a1b2c3d4", "slow"),
            ("call_e1f2a3b4", "quick"),
        ]
        assert on.upstream.requests[1]["messages"][-3]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("calc__add", "{not json"), r"^\[tool error\] the arguments are not valid JSON"),
        (("calc__add", "[1]"), r"^\[tool error\] the arguments must be one JSON object"),
        (("made__up", "{}"), r"^\[tool error\] there is no tool named 'made__up'"),
        (("t__raises", "{}"), r"^\[tool error\] the tool failed inside the gateway$"),
        (("t__late", "{}"), r"^\[tool error\] The tool server 't' did not answer within 300 s\.$"),
        (("t__refuses", "{}"), r"^\[tool error\] no such city$"),
        (("t__fails", "{}"), r"^\[tool error\] it broke$"),
        (("t__silent", "{}"), r"^\(the tool returned nothing\)$"),
    ],
)
async def test_what_goes_wrong_with_a_tool_becomes_text_for_the_model(call: tuple[str, str], expected: str) -> None:
    """Compatibility D7; invalid JSON is never called with `{}`."""

    async def raises(*_: object) -> Result:
        raise ValueError("secret")

    async def late(*_: object) -> Result:
        raise BackendTimeout("t", 300)

    async def refuses(*_: object) -> Failure:
        return Failure(-32602, "no such city")

    async def fails(*_: object) -> Result:
        return text_result("it broke", isError=True)

    async def silent(*_: object) -> Result:
        return Result(b'{"content":[]}')

    tools: Any = {**ADD, "t__raises": raises, "t__late": late, "t__refuses": refuses, "t__fails": fails}
    tools["t__silent"] = silent
    async with stage([Said(calls=[("call_a1b2c3d4", *call)]), Said("Sorry")], tools) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Sorry"
        assert re.search(expected, on.upstream.requests[1]["messages"][-1]["content"])


async def test_the_budget_of_rounds_ends_with_a_turn_that_may_not_call() -> None:
    """Compatibility D6: tools stay declared and tool_choice is none (openai-clients.md §0, 8)."""
    async with stage([CALL_ADD, CALL_ADD, Said("Enough.")], ADD, max_tool_iterations=2) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK, tool_choice="required")
        assert answer.choices[0].message.content == "Enough."
        assert [r.get("tool_choice") for r in on.upstream.requests] == ["required", None, "none"]
        assert all(r["tools"] for r in on.upstream.requests)


async def test_a_model_that_calls_against_orders_is_ended_with_a_note() -> None:
    """openai-clients.md, recommended loop 5."""
    async with stage([CALL_ADD, CALL_ADD], ADD, max_tool_iterations=1) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.content == "[The limit of 1 rounds of tool calls is reached.]"
        assert len(on.calls.made) == 1


async def test_a_model_that_goes_on_calling_what_is_not_there_is_ended_too() -> None:
    """Issue 4, budget of rounds: an assistant without any tool, and a model that makes some up, for ever."""
    async with stage([CALL_ADD] * 5, max_tool_iterations=2) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert (answer.choices[0].finish_reason, len(on.upstream.requests)) == ("stop", 3)
        assert "there is no tool named" in on.upstream.requests[1]["messages"][-1]["content"]


async def test_calls_over_the_bound_of_a_turn_are_not_run_and_the_model_hears_of_it() -> None:
    """Issue 4: budget of calls per round."""
    calls = [(f"call_a1b2c3d{n}", "calc__add", '{"a":1,"b":1}') for n in range(4)]
    async with stage([Said(calls=calls), Said("Ok")], ADD, options={"max_calls_per_round": 2}) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert len(on.calls.made) == 2
        results = [m["content"] for m in on.upstream.requests[1]["messages"][-4:]]
        assert results[:2] == ["2", "2"]
        assert all("was not run" in text for text in results[2:])


async def test_the_stream_helper_of_the_sdk_reads_every_part() -> None:
    """openai-clients.md §0, 3: `chat.completions.stream()` is the strictest reader."""
    script = [Said("Let me see. ", thinking="Hm.", calls=CALL_ADD.calls), Said("Five.", thinking="Yes.")]
    async with stage(script, ADD) as on:
        async with on.openai.chat.completions.stream(model="helper", messages=ASK) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == "Let me see. \n\nFive."
        assert final.choices[0].message.model_dump()["reasoning_content"] == "Hm.Yes."
        assert on.upstream.requests[1]["messages"][-2]["reasoning_content"] == "Hm."
        assert on.upstream.requests[1]["messages"][-2]["content"] == "Let me see. "


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call"])
async def test_that_there_are_calls_counts_for_more_than_the_reason_given(reason: str) -> None:
    """openai-clients.md, recommended loop 2: some providers say `stop`."""
    async with stage([Said(calls=CALL_ADD.calls, reason=reason), Said("Five.")], ADD) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Five."


async def test_strange_streams_are_understood() -> None:
    """openai-clients.md, recommended loop 1: null index, whole call in one chunk, arguments as an object, no [DONE]."""
    call = {"index": None, "function": {"name": "calc__add", "arguments": {"a": 2, "b": 3}}}
    strange = Raw(
        events=[
            {"choices": []},
            {"choices": [{"delta": {"role": "assistant", "content": None, "tool_calls": [call]}}]},
            {"choices": [{"delta": None, "finish_reason": "stop"}], "usage": None, "x_extra": {"a": [1]}},
        ],
        headers={"content-type": "text/event-stream"},
    )
    async with stage([strange, Said("Five.")], ADD) as on:
        chunks = await on.chunks(messages=ASK)
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Five."
        assert on.calls.made == [("calc__add", {"a": 2, "b": 3})]


async def test_unknown_fields_and_events_of_a_provider_never_reach_the_client() -> None:
    """Security, incident 9: an `execute` event from a model server was JavaScript in the user's browser."""
    nasty = Raw(
        events=[
            {"event": {"type": "execute", "data": {"code": "alert(1)"}}, "choices": []},
            {"choices": [{"delta": {"content": "Hi", "event": "x"}, "event": {"type": "execute"}}], "event": {"a": 1}},
            "[DONE]",
        ],
    )
    async with stage([nasty]) as on:
        answer = await on.http.post(
            "/v1/chat/completions", json={"model": "helper", "stream": True, "messages": ASK, "tools": []}
        )
        assert "execute" not in answer.text
        assert '"content":"Hi"' in answer.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"), [(400, 400), (401, 502), (403, 502), (404, 404), (429, 429), (500, 500), (503, 503)]
)
async def test_an_error_of_the_provider_keeps_its_status_and_words(stream: bool, status: int, expected: int) -> None:
    """Compatibility D3. 401 and 403 are about the gateway's key, and must not look like the caller's."""
    body = {"error": {"message": "Because of sk-upstream", "type": "t", "param": "p", "code": "c"}}
    failure = Raw(body=body, status=status, headers={"retry-after": "7"})
    async with stage([failure, failure]) as on:
        with pytest.raises(APIStatusError) as caught:
            await on.openai.chat.completions.create(model="helper", messages=ASK, stream=stream)
        assert caught.value.status_code == expected
        assert "sk-upstream" not in caught.value.message
        assert "x-should-retry" not in caught.value.response.headers
        if expected == status:
            assert "Because of [redacted]" in caught.value.message
            assert (caught.value.type, caught.value.param, caught.value.code) == ("t", "p", "c")
            assert caught.value.response.headers["retry-after"] == "7"


async def test_a_passing_fault_before_the_first_byte_is_tried_once_more() -> None:
    """Issue 4: retry only before the first byte and before any tool ran."""
    async with stage([Raw(body={"error": "overloaded"}, status=503), Said("Hi")]) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Hi"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_after_tools_ran_tells_the_client_not_to_try_again(stream: bool) -> None:
    """openai-clients.md §0, 4: with retries on, the official SDK sends exactly one request."""
    async with stage([CALL_ADD, Raw(body={"error": "x"}, status=503), Said("never")], ADD) as on:
        eager = on.openai.with_options(max_retries=2)
        with pytest.raises(InternalServerError) as caught:
            await eager.chat.completions.create(model="helper", messages=ASK, stream=stream)
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert len(on.upstream.requests) == 2
        assert len(on.calls.made) == 1


async def test_a_stream_that_breaks_keeps_what_was_said_and_ends_with_an_error() -> None:
    """openai-clients.md §1a, errors: partial text is kept, then an error box; the SDK raises."""
    broken = Said("Half of an answer", wait=asyncio.Event())
    async with stage([broken]) as on:
        stream = await on.openai.chat.completions.create(model="helper", messages=ASK, stream=True)
        said: list[str] = []

        async def listen() -> None:
            async for chunk in stream:
                said.append(chunk.choices[0].delta.content or "")
                on.upstream.cut.set()

        with pytest.raises(APIError, match="answered wrongly"):
            await listen()
        assert "".join(said) == "Half "


async def test_an_error_inside_a_stream_is_passed_on_in_our_shape() -> None:
    """openai-clients.md §2: mid-stream `{"error": …}` becomes openai.APIError with message, code, type."""
    events: Any = [{"choices": [{"delta": {"content": "Half"}}]}, {"error": {"message": "boom", "type": "t"}}]
    async with stage([Raw(events=events)]) as on:
        answer = await on.http.post("/v1/chat/completions", json={"model": "helper", "stream": True, "messages": ASK})
        assert "The provider 'local' answered: boom" in answer.text


async def test_a_provider_that_is_not_there_is_a_502() -> None:
    """Contract, Errors: our words, not the library's."""
    async with stage([], provider={"base_url": "http://127.0.0.1:9/v1"}) as on:
        with pytest.raises(InternalServerError) as caught:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert caught.value.code == "provider_unreachable"


async def test_nothing_is_sent_to_a_provider_whose_key_was_lost() -> None:
    """Security F16: lost key: only those secrets fail, named. No chat leaves without its credentials."""
    async with stage([], provider={"unreadable": True}) as on:
        with pytest.raises(InternalServerError, match="sealed under a secret key that the gateway has lost") as caught:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert caught.value.code == "provider_unreachable"
        assert on.upstream.paths == []


async def test_an_assistant_whose_provider_is_gone_says_so() -> None:
    """Compatibility D3."""
    async with stage([]) as on:
        on.upstream.script.clear()
        with pytest.raises(NotFoundError, match="/v1/models"):
            await on.openai.chat.completions.create(model="other", messages=ASK)


async def test_when_the_client_goes_the_provider_and_the_tools_are_stopped() -> None:
    """openai-clients.md §1a, stop button."""
    started, stopped = asyncio.Event(), asyncio.Event()

    async def endless(given: dict[str, Any], _: OnProgress) -> Result:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    call = Said("Wait. ", calls=[("call_a1b2c3d4", "t__endless", "{}")])
    async with stage([call], {"t__endless": endless}) as on:
        stream = await on.openai.chat.completions.create(model="helper", messages=ASK, stream=True)
        async for _ in stream:
            await asyncio.wait_for(started.wait(), 5)
            break
        await stream.close()
        await asyncio.wait_for(stopped.wait(), 5)
        events = await on.recorded()
        assert events == [] or events[-1].detail["outcome"] == "cancelled"


async def test_when_the_client_goes_while_the_model_speaks_the_upstream_is_closed() -> None:
    """openai-clients.md §1a, stop button."""
    async with stage([Said("One two three", wait=asyncio.Event())]) as on:
        stream = await on.openai.chat.completions.create(model="helper", messages=ASK, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await asyncio.wait_for(on.upstream.closed_early.wait(), 5)


async def test_many_tools_stay_reachable_behind_a_search() -> None:
    """Issue 4: more than 128 tools, never a silent cut."""

    async def plan(given: dict[str, Any], _: OnProgress) -> Result:
        return text_result(f"to {given['to']}")

    definitions = [definition(f"big__tool{n}") for n in range(199)]
    definitions += [definition("geo__plan", "Plans a trip between cities.")] + [
        definition(f"geo__x{n}") for n in range(150)
    ]
    found = Said(calls=[("call_a1b2c3d4", "search_tools", '{"query":"plan a trip"}')])
    run = Said(calls=[("call_e1f2a3b4", "call_tool", '{"name":"geo__plan","arguments":{"to":"Rome"}}')])
    async with stage([found, run, Said("Done")], {"geo__plan": plan}, definitions=definitions) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Done"
        assert len(on.upstream.requests[0]["tools"]) <= 128
        assert "geo__plan" in on.upstream.requests[1]["messages"][-1]["content"]
        assert on.calls.made == [("geo__plan", {"to": "Rome"})]
        assert on.upstream.requests[2]["messages"][-1]["content"] == "to Rome"


async def test_two_hundred_tools_of_small_servers_are_shown_as_far_as_they_fit() -> None:
    """Issue 4: whole servers first."""
    definitions = [definition(f"s{server}__t{n}") for server in range(20) for n in range(10)]
    async with stage([Said("Hi")], {}, definitions=definitions) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        names = [tool["function"]["name"] for tool in on.upstream.requests[0]["tools"]]
        assert len(names) == 122
        assert names[-2:] == ["search_tools", "call_tool"]
