"""Bodies that are not as they should be: 400 in OpenAI's shape, naming the field (issue 4; contract, Errors)."""

from typing import Any

import pytest
from openai import BadRequestError

from gateway_proxy.router.messages import Result
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

USER: Any = {"role": "user", "content": "Go"}


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"calc__add": add}
MINE = {"type": "function", "function": {"name": "time.now", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": "x"}}, "stream_options"),
        ({"n": 2}, "n"),
        ({"n": "1"}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_completion_tokens": [5]}, "max_completion_tokens"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"logprobs": 1}, "logprobs"),
        ({"response_format": "json"}, "response_format"),
        ({"stop": 5}, "stop"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "nobody_has"}}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": 5}}]}, "tools[0]"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [USER, 5]}, "messages[1]"),
        ({"messages": [USER, {"role": "wizard", "content": "x"}]}, "messages[1].role"),
        ({"messages": [USER, {"role": "user", "content": 5}]}, "messages[1].content"),
        ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [5]}]}, "messages[1].tool_calls"),
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
    ],
)
async def test_a_field_of_the_wrong_kind_is_named(body: dict[str, Any], field: str) -> None:
    """Before anything is asked of a model."""
    async with stage([], ADD) as on:
        answer = await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": [USER], **body})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", field)
        assert field in error["message"]
        assert on.upstream.requests == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model":"helper","messages":[{"role":"user","content":"\xff"}]}']
)
async def test_what_is_no_json_in_utf_8_is_a_400(body: bytes) -> None:
    """Never a 500 for what a client sent."""
    async with stage([]) as on:
        answer = await on.http.post("/v1/chat/completions", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_half_a_character_is_mended() -> None:
    """RFC 8259 §8.2: SDKs escape what is left of text that was cut; the chat goes on with U+FFFD."""
    async with stage([Said("Hi")]) as on:
        body = b'{"model":"helper","messages":[{"role":"user","content":"cut \\ud83d"}]}'
        assert (await on.http.post("/v1/chat/completions", content=body)).status_code == 200
        assert on.upstream.requests[0]["messages"][0]["content"] == "cut \ufffd"


async def test_what_means_nothing_to_us_reaches_the_provider_as_it_came() -> None:
    """Null is absence; unknown fields, content parts and the developer role pass."""
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    messages: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    body = {"n": None, "stream": None, "temperature": None, "max_completion_tokens": 9, "x_new": {"a": [1]}, "n_": 1}
    async with stage([Said("Hi")], ADD, max_tokens=5) as on:
        await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": messages, **body})
        (sent,) = on.upstream.requests
        assert sent["messages"] == messages
        assert (sent["x_new"], sent["max_completion_tokens"], "max_tokens" in sent) == ({"a": [1]}, 9, False)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        (
            {"type": "function", "function": {"name": "calc__add"}},
            {"type": "function", "function": {"name": "calc__add"}},
        ),
        (
            {"type": "function", "function": {"name": "time.now"}},
            {"type": "function", "function": {"name": "time_now"}},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [MINE]}},
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{**MINE, "function": {"name": "time_now", "parameters": {"type": "object"}}}],
                },
            },
        ),
    ],
)
async def test_a_choice_of_tools_has_the_names_that_the_provider_knows(choice: Any, sent: Any) -> None:
    """Issue 4, the loop: tool_choice of the client is honoured, whosever function it names."""
    async with stage([Said("Hi")], ADD) as on:
        body = {"model": "helper", "messages": [USER], "tools": [MINE], "tool_choice": choice}
        answer = await on.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        assert on.upstream.requests[0]["tool_choice"] == sent


async def test_structured_output_goes_along_with_the_tools() -> None:
    """`response_format` stands in every round, so that the last one, whichever it is, obeys it."""
    call = Said(calls=[("call_a1b2c3d4", "calc__add", '{"a":2,"b":3}')])
    async with stage([call, Said('{"sum":5}')], ADD) as on:
        shape: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
        answer = await on.openai.chat.completions.create(model="helper", messages=[USER], response_format=shape)
        assert answer.choices[0].message.content == '{"sum":5}'
        assert [sent["response_format"] for sent in on.upstream.requests] == [shape, shape]


async def test_a_slash_at_the_end_of_a_path_makes_no_difference() -> None:
    """A chat must not slip past tools, limits and record to the provider by another spelling of its path."""
    async with stage([Said("Hi")], ADD) as on:
        answer = await on.http.post("/v1/chat/completions/", json={"model": "helper", "messages": [USER]})
        assert answer.json()["choices"][0]["message"]["content"] == "Hi"
        assert on.upstream.requests[0]["tools"]
        assert (await on.http.get("/v1/models/")).json()["object"] == "list"
        assert len(await on.recorded()) == 1


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}])
async def test_an_answer_without_choices_is_the_providers_fault(body: Any) -> None:
    """Not an empty answer that looks like a success."""
    async with stage([Raw(body=body)]) as on:
        answer = await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": [USER]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")


async def test_the_sdk_raises_its_own_error_with_the_field() -> None:
    """`openai.BadRequestError.param`."""
    async with stage([]) as on:
        with pytest.raises(BadRequestError) as caught:
            await on.openai.chat.completions.create(model="helper", messages=[USER], n=3)
        assert caught.value.param == "n"
