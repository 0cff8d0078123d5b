"""The demo server, spoken to by the official client over real stdio."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client


@asynccontextmanager
async def _demo(era: str = "legacy") -> AsyncIterator[Client]:
    """A client of a demo process. No fixture: the SDK's scopes must be left in the task that entered them."""
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "gateway_proxy.demo"])
    async with Client(stdio_client(parameters), mode=era) as client:
        yield client


async def _text(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error
    content = result.content[0]
    assert content.type == "text"
    return content.text


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_every_tool_says_what_it_is_in_both_eras(era: str) -> None:
    """Issue 2, deliverable 9: titles, descriptions and annotations that a person can choose by."""
    async with _demo(era) as demo:
        tools = (await demo.list_tools()).tools
        assert {tool.name for tool in tools} == {"add", "multiply", "now", "echo", "slow", "counter"}
        for tool in tools:
            assert tool.title
            assert tool.description
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (tool.name != "counter")
            properties: dict[str, dict[str, Any]] = tool.input_schema["properties"]
            assert all("description" in schema for schema in properties.values())
        assert [await _text(demo, "counter") for _ in range(3)] == ["1", "2", "3"]


async def test_the_tools_do_what_they_say() -> None:
    """Issue 2, deliverable 9."""
    async with _demo() as demo:
        assert await _text(demo, "add", a=0.5, b=2) == "2.5"
        assert await _text(demo, "add", a=1, b=2) == "3"
        result = await demo.call_tool("multiply", {"a": 6, "b": 7})
        assert result.structured_content == {"product": 42.0, "factors": [6.0, 7.0]}
        for text in ("", "Grüße 👋", "two\nlines\r\n", '{"json": ["\\u0000"]}', "x" * 100_000):
            assert await _text(demo, "echo", text=text) == text


async def test_the_time_is_told_in_any_zone_and_an_unknown_one_is_named() -> None:
    """contract.md, Errors: a message that names the field and what was expected."""
    async with _demo() as demo:
        moment = json.loads(await _text(demo, "now", zone="Asia/Kathmandu"))
        assert datetime.fromisoformat(moment["time"]).strftime("%z") == "+0545"
        for zone in ("Nowhere/Land", "../../etc/passwd", "/etc/localtime", "", "a\0b"):
            result = await demo.call_tool("now", {"zone": zone})
            assert result.is_error
            assert "zone: expected an IANA time zone name" in str(result.content)


async def test_slow_work_reports_progress_has_limits_and_can_be_cancelled() -> None:
    """Issue 2, deliverable 9: a demo must not be a way to tie the gateway up."""
    reported: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total))

    async with _demo() as demo:
        result = await demo.call_tool("slow", {"seconds": 0.05, "steps": 4}, progress_callback=hear)
        assert result.structured_content == {"seconds": 0.05, "steps": 4}
        assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]
        for arguments in ({"seconds": 121}, {"seconds": -1}, {"steps": 0}, {"steps": 1001}):
            assert (await demo.call_tool("slow", arguments)).is_error
        with anyio.move_on_after(0.2) as scope:
            await demo.call_tool("slow", {"seconds": 100})
        assert scope.cancelled_caught
        with anyio.fail_after(10):
            assert await _text(demo, "counter") == "1"
