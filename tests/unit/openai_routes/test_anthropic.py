"""Chats over a scripted Anthropic Messages API that checks what it is sent as the real one does (compatibility D9)."""

from typing import Any

import msgspec
import pytest
from openai import APIError, BadRequestError

from gateway_proxy.router.messages import Result
from openai_routes.providers.anthropic_request import encode_request
from openai_routes.turn import Message, TurnRequest
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "What is two and three?"}]
PNG = "iVBORw0KGgo="


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds, or fails."""
    if given["a"] < 0:
        return text_result("no negatives", isError=True)
    return text_result(str(given["a"] + given["b"]))


async def draw(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that returns an image."""
    return Result(msgspec.json.encode({"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}))


TOOLS = {"calc__add": add, "art__draw": draw}


@pytest.mark.parametrize("stream", [False, True])
async def test_parallel_tools_with_signed_thinking_run_through(stream: bool) -> None:
    """openai-clients.md §4: two parallel tools; thinking must go back unchanged while tools run."""
    calls = [
        ("toolu_01A09q90qw90lq917835lq9", "calc__add", '{"a":2,"b":3}'),
        ("toolu_01B09q90qw90lq917835lq9", "calc__add", '{"a":-1,"b":3}'),
    ]
    script = [Said("Let me add. ", thinking="Two sums.", calls=calls), Said("Five.", usage=(20, 7))]
    async with stage(script, TOOLS, kind="anthropic", system_prompt="Be exact.") as on:
        if stream:
            async with on.openai.chat.completions.stream(
                model="helper", messages=ASK, stream_options={"include_usage": True}
            ) as running:
                answer: Any = await running.get_final_completion()
        else:
            answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Let me add. \n\nFive."
        assert answer.choices[0].message.model_dump()["reasoning_content"] == "Two sums."
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (36, 12)
        assert answer.usage.prompt_tokens_details.cached_tokens == 6
        first, second = on.upstream.requests
        assert first["system"] == [{"type": "text", "text": "Be exact."}]
        assert first["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
        assert [block["type"] for block in second["messages"][1]["content"]] == [
            "thinking",
            "text",
            "tool_use",
            "tool_use",
        ]
        good, bad = second["messages"][2]["content"]
        assert good == {
            "type": "tool_result",
            "tool_use_id": calls[0][0],
            "content": [{"type": "text", "text": "5"}],
        }
        assert bad["is_error"] is True
        assert on.upstream.headers[0]["x-api-key"] == "sk-upstream"
        assert "authorization" not in on.upstream.headers[0]


async def test_images_of_tools_reach_a_model_that_sees() -> None:
    """openai-clients.md §5, 8: silent image loss is a live complaint."""
    call = Said(calls=[("toolu_01A09q90qw90lq917835lq9", "art__draw", "{}")])
    async with stage([call, Said("Nice.")], TOOLS, kind="anthropic", options={"vision": True}) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        blocks = on.upstream.requests[1]["messages"][-1]["content"]
        assert [block["type"] for block in blocks] == ["tool_result", "text", "image"]
        assert blocks[2]["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}
        assert "[image image/png, 8 bytes, shown below as image 1]" in blocks[0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
async def test_stop_reasons_are_mapped(reason: str, expected: str) -> None:
    """Compatibility D9."""
    async with stage([Said("x", reason=reason)], kind="anthropic") as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].finish_reason == expected


async def test_errors_keep_status_and_words() -> None:
    """Compatibility D3, D9: before and inside the stream."""
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    said = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Half"}}
    script = [
        Raw(body={"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}, status=400),
        Raw(events=[said, overloaded]),
    ]
    async with stage(script, kind="anthropic") as on:
        with pytest.raises(BadRequestError, match="too long"):
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        with pytest.raises(APIError, match="Overloaded"):
            await on.openai.chat.completions.create(model="helper", messages=ASK)


async def test_a_base_url_without_a_path_gets_the_version_first() -> None:
    """https://api.anthropic.com as the SDKs write it."""
    async with stage([Said("x")], kind="anthropic") as first:
        base = first.upstream
        assert base.paths == []
        await first.openai.chat.completions.create(model="helper", messages=ASK)
        assert base.paths == ["/v1/messages"]


def encoded(messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The body for a turn with these messages and parameters."""
    tools = fields.pop("tools", [])
    choice = fields.pop("tool_choice", None)
    body: dict[str, Any] = msgspec.json.decode(
        encode_request(
            TurnRequest(
                "claude",
                tuple(Message(msgspec.json.encode(message)) for message in messages),
                tuple(msgspec.Raw(msgspec.json.encode(tool)) for tool in tools),
                None if choice is None else msgspec.json.encode(choice),
                {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()},
                {},
                stream=False,
                may_retry=True,
            )
        )
    )
    return body


def test_a_whole_conversation_is_translated() -> None:
    """Compatibility D9: system joined, turns merged, tool_use and tool_result, images by data and by URL."""
    call = {"id": "call:1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    body = encoded(
        [
            {"role": "system", "content": "One."},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "text", "text": " "},
                ],
            },
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call:1", "content": "[tool error] no"},
            {"role": "user", "content": "And?"},
            {"role": "assistant", "content": "Then I "},
        ]
    )
    assert [block["text"] for block in body["system"]] == ["One.", "Two."]
    assert body["max_tokens"] == 8192
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "text", "text": "See"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [{"type": "text", "text": "[tool error] no"}],
                    "is_error": True,
                },
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Then I"}]},
    ]
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", None, None),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, False, {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choice_and_parallel_calls_are_translated(choice: Any, parallel: Any, expected: Any) -> None:
    """openai-clients.md §4: the gaps of the original."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "strict": True}}
    fields = {} if parallel is None else {"parallel_tool_calls": parallel}
    body = encoded(ASK, tools=[tool], tool_choice=choice, **fields)
    assert body["tools"][0]["strict"] is True
    if isinstance(choice, dict):
        expected = {**expected, "disable_parallel_tool_use": True}
    assert body.get("tool_choice") == expected


def test_parameters_are_translated() -> None:
    """Compatibility D9: stop sequences; a thinking model takes no temperature and cannot be forced."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = encoded(
        ASK,
        stop="END",
        max_completion_tokens=5,
        temperature=0.5,
        user="ann",
        reasoning_effort="high",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        frequency_penalty=1,
    )
    assert (body["stop_sequences"], body["max_tokens"], body["temperature"]) == (["END"], 5, 0.5)
    assert body["metadata"] == {"user_id": "ann"}
    assert body["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": schema}}
    assert "frequency_penalty" not in body
    tool = {"type": "function", "function": {"name": "f"}}
    body = encoded(ASK, temperature=0.5, thinking={"type": "adaptive"}, tools=[tool], tool_choice="required")
    assert "temperature" not in body
    assert "tool_choice" not in body
