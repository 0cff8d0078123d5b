"""How much one chat may take: time, silence of a provider, open chats (issue 4, providers and budget)."""

import asyncio
from typing import Any

import pytest

from gateway_proxy.router.messages import Result
from openai_routes import usage_record
from tests.support.clock import FakeClock
from tests.support.llm.scripted import Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "Go"}]
CALL = Said(calls=[("call_a1b2c3d4", "t__work", "{}")])


async def test_when_the_time_is_over_the_next_turn_may_not_call() -> None:
    """Budget, wall clock: `max_seconds` ends the rounds as their number does, and the model still answers."""
    clock = FakeClock()

    async def work(given: dict[str, Any], _: OnProgress) -> Result:
        clock.advance(301)
        return text_result("done")

    script, options = [CALL, CALL, Said("That is all.")], {"max_seconds": 600}
    async with stage(script, {"t__work": work}, clock=clock, options=options) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert answer.choices[0].message.content == "That is all."
        assert [sent.get("tool_choice") for sent in on.upstream.requests] == [None, None, "none"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_hangs_is_a_504_in_our_words(stream: bool) -> None:
    """Providers, time-outs: silence for the provider's `timeout`, before or behind the first words."""
    hung = Said("One two three", wait=asyncio.Event())
    async with stage([hung], provider={"timeout": 0.3}) as on:
        body = {"model": "helper", "messages": ASK, "stream": stream}
        answer = await on.http.post("/v1/chat/completions", json=body)
        assert '"code":"provider_timeout"' in answer.text
        assert answer.status_code == (200 if stream else 504)
        if stream:
            assert '"content":"One "' in answer.text


async def test_more_open_chats_than_allowed_are_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract, Errors: 429 with Retry-After; the place is free again when a chat ends."""
    monkeypatch.setattr(usage_record, "PER_USER", 1)
    async with stage([Said("One two three", wait=asyncio.Event()), Said("Hi")]) as on:
        stream = await on.openai.chat.completions.create(model="helper", messages=ASK, stream=True)
        async for _ in stream:
            break
        second = await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": ASK})
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        await stream.close()
        await asyncio.wait_for(on.upstream.closed_early.wait(), 5)
        async with asyncio.timeout(5):
            while True:
                third = await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": ASK})
                if third.status_code == 200:
                    break
