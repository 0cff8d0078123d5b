"""Tools that take long, say much, fail or draw, each through a whole chat (issue 4, done when).

Ninety real seconds are tried by `scripts/long-tool`; 200 tools and 36 of the client's stand in
`test_recorded_open_webui.py`.
"""

import asyncio
from typing import Any

import msgspec

from gateway_proxy.router.messages import Result
from tests.support.llm.scripted import Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "Go"}]
PNG = "iVBORw0KGgo="
MIB = 1024 * 1024


def calls(name: str) -> Said:
    """The model calls that tool."""
    return Said(calls=[("call_a1b2c3d4", name, "{}")])


async def test_a_tool_that_returns_five_megabytes_is_cut_and_says_so() -> None:
    """The model gets the beginning and how much is missing; the chat goes on."""

    async def big(given: dict[str, Any], _: OnProgress) -> Result:
        return text_result("x" * 5 * MIB)

    async with stage([calls("t__big"), Said("Much.")], {"t__big": big}) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "Much."
        got = on.upstream.requests[1]["messages"][-1]["content"]
        assert got.startswith("xxx")
        assert got.endswith(f"\n[cut: the first {MIB // 4} of {5 * MIB} bytes are shown]")
        assert len(got) < MIB // 4 + 100


async def test_a_tool_that_fails_is_text_for_the_model_and_no_error_for_the_client() -> None:
    """Compatibility D7."""

    async def fails(given: dict[str, Any], _: OnProgress) -> Result:
        return text_result("the printer is on fire", isError=True)

    async with stage([calls("t__print"), Said("Sorry.")], {"t__print": fails}) as on:
        chunks = await on.chunks(messages=ASK)
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Sorry."
        assert on.upstream.requests[1]["messages"][-1]["content"] == "[tool error] the printer is on fire"


async def test_a_tool_that_returns_an_image_shows_it_to_a_model_that_sees_and_names_it_to_one_that_does_not() -> None:
    """openai-clients.md, recommended loop 6: tool messages are text, so the image follows as the user's."""

    async def draw(given: dict[str, Any], _: OnProgress) -> Result:
        block = {"type": "image", "data": PNG, "mimeType": "image/png"}
        return Result(msgspec.json.encode({"content": [{"type": "text", "text": "Drawn."}, block]}))

    for vision in (True, False):
        async with stage([calls("t__draw"), Said("Nice.")], {"t__draw": draw}, options={"vision": vision}) as on:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
            result, *shown = on.upstream.requests[1]["messages"][2:]
            note = "[image image/png, 8 bytes, shown below as image 1]" if vision else "[image image/png, 8 bytes]"
            assert result["content"] == f"Drawn.\n{note}"
            images = [part["image_url"]["url"] for m in shown for part in m["content"] if part["type"] == "image_url"]
            assert images == ([f"data:image/png;base64,{PNG}"] if vision else [])


async def test_a_tool_that_takes_long_keeps_the_answer_waiting_and_nothing_is_asked_twice() -> None:
    """The client waits as long as the tool does; the SDK sees one answer."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def long(given: dict[str, Any], _: OnProgress) -> Result:
        started.set()
        await go_on.wait()
        return text_result("at last")

    async with stage([calls("t__long"), Said("There.")], {"t__long": long}) as on:
        asking = asyncio.create_task(on.openai.chat.completions.create(model="helper", messages=ASK))
        await asyncio.wait_for(started.wait(), 10)
        assert not asking.done()
        go_on.set()
        assert (await asking).choices[0].message.content == "There."
        assert (len(on.calls.made), len(on.upstream.requests)) == (1, 2)
