"""Chat with `mcp-gateway` in a tenant without a provider (compatibility C5, C6, C7)."""

import json
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from openai_routes.introduction import ToolSummary, introduce

ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What tools are available?"}]


async def test_asked_for_tools_it_lists_those_of_the_tenant(openai: AsyncOpenAI) -> None:
    """Compatibility C5: also beyond the first page of the catalog."""
    answer = await openai.chat.completions.create(model="mcp-gateway", messages=ASK)
    content = answer.choices[0].message.content or ""
    assert "3 tools are available" in content
    assert "- `calc__add`: Adds two numbers.\n" in content
    assert "- `clock__now`: Tells the time.\n" in content
    assert "- `plain__bare`\n" in content
    assert "other__secret" not in content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0


async def test_asked_anything_else_it_explains_itself(openai: AsyncOpenAI) -> None:
    """Compatibility C5: it says why it cannot chat, and still names the tools."""
    answer = await openai.chat.completions.create(
        model="mcp-gateway", messages=[{"role": "user", "content": [{"type": "text", "text": "Tell me a story"}]}]
    )
    content = answer.choices[0].message.content or ""
    assert "No language model is connected" in content
    assert "calc__add" in content


async def test_the_stream_is_read_by_the_official_helper(openai: AsyncOpenAI) -> None:
    """Compatibility C6: one role, one id, one finish; openai `chat.completions.stream()` is the strictest reader."""
    async with openai.chat.completions.stream(
        model="mcp-gateway", messages=ASK, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()
    assert "calc__add" in (final.choices[0].message.content or "")
    assert final.usage is not None


async def test_the_stream_has_one_role_one_finish_and_done(http: httpx2.AsyncClient) -> None:
    """Compatibility D8: headers, first chunk, last chunk."""
    answer = await http.post("/v1/chat/completions", json={"model": "mcp-gateway", "messages": ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert [c["choices"][0]["finish_reason"] for c in chunks].count("stop") == 1
    assert all("usage" not in c for c in chunks)


async def test_no_user_message_is_refused_in_those_words(openai: AsyncOpenAI) -> None:
    """Compatibility C7."""
    with pytest.raises(BadRequestError, match="No user message found"):
        await openai.chat.completions.create(model="mcp-gateway", messages=[{"role": "system", "content": "x"}])


async def test_an_unknown_model_is_a_404_that_names_the_list(openai: AsyncOpenAI) -> None:
    """Compatibility D3."""
    with pytest.raises(NotFoundError, match="/v1/models"):
        await openai.chat.completions.create(model="gpt-9", messages=ASK)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"{", None, "expected a JSON object with 'model' and 'messages'"),
        (b"[]", None, "expected a JSON object"),
        (b"\xff", None, "expected a JSON object"),
        (b'{"model":' * 50_000, None, "expected a JSON object"),
        (b'{"messages":[{"role":"user"}]}', "model", "Missing required field 'model'"),
        (b'{"model":null,"messages":[{"role":"user"}]}', "model", "Missing required field 'model'"),
        (b'{"model":7,"messages":[{"role":"user"}]}', "model", "Invalid value for 'model'"),
        (b'{"model":"mcp-gateway"}', "messages", "Missing required field 'messages'"),
        (b'{"model":"mcp-gateway","messages":[]}', "messages", "non-empty array"),
        (b'{"model":"mcp-gateway","messages":"hi"}', "messages", "non-empty array"),
        (b'{"model":"mcp-gateway","messages":[{}]}', "messages[0]", "an object with a 'role'"),
        (b'{"model":"mcp-gateway","messages":[{"role":"user","content":5}]}', "messages[0].content", "text or an"),
        (b'{"model":"mcp-gateway","messages":[{"role":"user"}],"stream":"yes"}', "stream", "true or false"),
        (b'{"model":"mcp-gateway","messages":[{"role":"user"}],"n":2}', "n", "expected 1"),
        (b'{"model":"mcp-gateway","messages":[{"role":"user"}],"tools":{}}', "tools", "an array of tool objects"),
        (b'{"model":"mcp-gateway","messages":[{"role":"user"}],"stream_options":1}', "stream_options", "include_usage"),
    ],
)
async def test_bad_input_names_the_field_and_what_was_expected(
    http: httpx2.AsyncClient, body: bytes, param: str | None, words: str
) -> None:
    """Contract, Errors: bad input ends that request only, with a message that names the field."""
    answer = await http.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_a_body_over_25_mib_is_refused_before_it_is_read(http: httpx2.AsyncClient) -> None:
    """Security D1."""
    answer = await http.post("/v1/chat/completions", content=b" " * (25 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "The request body is larger than 25 MiB."


async def test_a_compressed_body_is_refused(http: httpx2.AsyncClient) -> None:
    """Security D1: no Content-Encoding."""
    answer = await http.post("/v1/chat/completions", content=b"{}", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_tool_that_is_named_in_the_question_is_described_alone() -> None:
    """Compatibility C5."""
    tools = [ToolSummary("calc__add", "Adds."), ToolSummary("calc__sub", "Subtracts.")]
    assert "".join(introduce("What does calc__add do?", tools, "Acme")) == "- `calc__add`: Adds.\n"


def test_without_tools_it_says_so() -> None:
    """Compatibility C5."""
    assert "No tools are available" in "".join(introduce("What tools are available?", [], "Acme"))
