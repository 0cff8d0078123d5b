"""What a chat costs: in the audit trail by user, in metrics by tenant and assistant (issue 4, policy and record)."""

import re
from typing import Any

import msgspec
import pytest
from openai import APIStatusError

from gateway_proxy.router.messages import Result
from gateway_proxy.telemetry.metrics import Metrics
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "What is two and three?"}]


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"calc__add": add}
CALL_ADD = Said(calls=[("call_a1b2c3d4", "calc__add", '{"a":2,"b":3}')], usage=(10, 5))


async def test_what_a_chat_cost_is_recorded_without_its_content() -> None:
    """Issue 4, policy and record: token counts by user, tenant and assistant."""
    async with stage([CALL_ADD, Said("It is five.", usage=(20, 7))], ADD) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        (event,) = await on.recorded()
        assert (event.event, event.tenant_id, event.user_id) == ("chat.completed", "t1", "u1")
        detail = dict(event.detail)
        assert (detail["assistant"], detail["provider"], detail["model"]) == ("helper", "local", "gpt-4o")
        assert (detail["prompt_tokens"], detail["completion_tokens"]) == (30, 12)
        assert (detail["rounds"], detail["tool_calls"], detail["outcome"]) == (1, 1, "ok")
        assert "five" not in msgspec.json.encode(detail).decode()


def _tokens(assistant: str) -> dict[str, float]:
    page = Metrics().page().decode()
    found = re.findall(rf'gateway_chat_tokens_total{{assistant="{assistant}",kind="(\w+)",tenant="acme"}} (\S+)', page)
    return {kind: float(count) for kind, count in found}


async def test_tokens_are_metrics_by_tenant_and_assistant() -> None:
    """Issue 4, policy and record; the user is in the audit trail only."""
    async with stage([CALL_ADD, Said("It is five.", usage=(20, 7))], ADD) as on:
        before = _tokens("helper")
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        after = _tokens("helper")
        grown = {kind: after[kind] - before.get(kind, 0) for kind in after}
        assert {kind: count for kind, count in grown.items() if count} == {"prompt": 30, "completion": 12}
        page = Metrics().page().decode()
        assert 'gateway_chats_total{assistant="helper",outcome="ok",tenant="acme"}' in page
        assert "u1" not in page


async def test_a_chat_that_failed_half_way_is_charged_for_what_it_had() -> None:
    """The turns before a failure were paid for; the provider's own code is no label."""
    async with stage([CALL_ADD, Raw(body={"error": {"message": "x", "code": "odd-code"}}, status=400)], ADD) as on:
        with pytest.raises(APIStatusError):
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        (event,) = await on.recorded()
        detail = event.detail
        assert (detail["outcome"], detail["prompt_tokens"], detail["tool_calls"]) == ("odd-code", 10, 1)
        page = Metrics().page().decode()
        assert 'gateway_chats_total{assistant="helper",outcome="ProviderRefused",tenant="acme"}' in page
        assert "odd-code" not in page


async def test_names_that_clients_choose_are_no_labels() -> None:
    """Security O7: what a client sends must not make metrics grow."""
    async with stage([Said("Hi")], provider_name="default") as on:
        await on.openai.chat.completions.create(model="whatever-i-like", messages=ASK)
        page = Metrics().page().decode()
        assert 'assistant="(a model of the provider)"' in page
        assert "whatever-i-like" not in page
