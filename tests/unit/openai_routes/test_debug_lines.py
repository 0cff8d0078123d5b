"""What an operator sees of chats at level debug (compatibility A3), and that it is nothing of what was said."""

import logging
from typing import Any

import pytest
from openai import NotFoundError
from structlog.testing import capture_logs

from gateway_proxy.router.messages import Result
from tests.support.llm.scripted import Raw, Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result
from tests.support.mcp_backends import demo_backend, serve
from tests.support.relay_rooms import LEGACY, http_backend, make_context, open_relay

ASK: Any = [{"role": "user", "content": "private question"}]
CALL = Said("private thought", calls=[("call_a1b2c3d4", "t__look", '{"of":"private"}')])
LOGGERS = ("openai_routes.agent_loop", "openai_routes.providers.transport", "gateway_proxy.router.call")
EVENTS = {"chat_round_ended", "provider_asked", "tool_call_ended"}


async def look(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool."""
    return text_result("private result")


@pytest.fixture
def debugging(caplog: pytest.LogCaptureFixture) -> None:
    """The level as GATEWAY_LOG_LEVEL=debug has it."""
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)


def debug_lines(lines: list[Any]) -> list[dict[str, Any]]:
    """The lines of this page, without their milliseconds, which are numbers."""
    found = [{**line} for line in lines if line["event"] in EVENTS]
    assert all(line.pop("log_level") == "debug" and line.pop("milliseconds") >= 0 for line in found)
    return found


@pytest.mark.usefixtures("debugging")
async def test_the_rounds_of_a_chat_and_the_providers_status_are_told() -> None:
    """One line for each round, one for each request to the provider."""
    async with stage([CALL, Raw(body={"error": "private"}, status=404)], {"t__look": look}) as on:
        with capture_logs() as lines, pytest.raises(NotFoundError):
            await on.openai.chat.completions.create(model="helper", messages=ASK)
    same = {"event": "chat_round_ended", "assistant": "helper", "provider": "local", "model": "gpt-4o"}
    assert debug_lines(lines) == [
        {"event": "provider_asked", "provider": "local", "status": 200},
        {**same, "round": 1, "outcome": "tool_calls", "tool_calls": 1},
        {"event": "provider_asked", "provider": "local", "status": 404},
        {**same, "round": 2, "outcome": "ProviderRefused", "tool_calls": 0},
    ]
    assert "private" not in str(lines)
    assert "sk-upstream" not in str(lines)


@pytest.mark.usefixtures("debugging")
async def test_a_provider_that_is_not_there_is_told_with_the_reason() -> None:
    """A refused connection is tried once more."""
    async with stage([], provider={"base_url": "http://127.0.0.1:9/v1"}) as on:
        with capture_logs() as lines:
            await on.http.post("/v1/chat/completions", json={"model": "helper", "messages": ASK})
    told = [line for line in debug_lines(lines) if line["event"] == "provider_asked"]
    assert told == [{"event": "provider_asked", "provider": "local", "reason": "ConnectFailed"}] * 2


@pytest.mark.usefixtures("debugging")
async def test_a_tool_call_is_told_once_without_its_arguments() -> None:
    """For every surface, where calls are recorded."""
    async with serve(demo_backend()) as url, open_relay([http_backend(url)]) as relay:
        with capture_logs() as lines:
            await relay.calls.call_to_end(make_context(), LEGACY, name="calc__echo", arguments=b'{"of":"private"}')
    assert debug_lines(lines) == [
        {
            "event": "tool_call_ended",
            "surface": LEGACY.surface,
            "tool": "calc__echo",
            "backend": "calc",
            "outcome": "ok",
        }
    ]
    assert "private" not in str(lines)


async def test_at_other_levels_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Not even built: the switch is asked first."""
    for name in LOGGERS:
        caplog.set_level(logging.INFO, logger=name)
    async with stage([CALL, Said("Done")], {"t__look": look}) as on:
        with capture_logs() as lines:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
    assert debug_lines(lines) == []
