"""Requests that are no tool call, as each leg answers them: shapes, codes and statuses."""

import json
from typing import Any

import pytest

from gateway_proxy.domain.errors import PromptUnknown, ResourceUnknown
from gateway_proxy.router.messages import Failure, Result
from tests.support.fake_router import FakeRequests
from tests.unit.mcp_endpoint.conftest import McpClient, ModernClient

URI = {"uri": "a://b"}
NAME = {"name": "p"}


async def test_a_read_of_a_backend_that_does_not_say_how_long_is_not_kept(
    modern: ModernClient, requests: FakeRequests
) -> None:
    """2026-07-28, Caching: ttlMs and cacheScope are required; private, since it is this token's."""
    for raw, ttl in (
        (b'{"contents":[],"x":1.50}', 0),
        (b'{"contents":[],"x":1.50,"resultType":"complete","ttlMs":7,"cacheScope":"public"}', 7),
    ):
        requests.scripts["resources/read"] = [Result(raw)]
        reply = await modern.call("resources/read", URI)
        result = reply.json["result"]
        assert b'"x":1.50' in reply.body
        assert {**result, "x": 0} == {
            "contents": [],
            "x": 0,
            "resultType": "complete",
            "ttlMs": ttl,
            "cacheScope": "private",
        }


async def test_other_lists_are_as_short_lived_as_their_backends_say(modern: ModernClient, client: McpClient) -> None:
    """2026-07-28, Caching: the shortest time; the older leg has none of it."""
    for method, member in (
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ):
        result = (await modern.call(method)).json["result"]
        assert (result[member], result["ttlMs"], result["cacheScope"]) == ([], 5, "private")
        assert (await client.call(method)).json["result"] == {member: []}


@pytest.mark.parametrize(
    ("script", "legacy", "current"),
    [
        (ResourceUnknown("a://b"), (-32002, {"uri": "a://b"}), (400, -32602, {"uri": "a://b"})),
        (Failure(-32002, "Resource not found", b'{"uri":"u"}'), (-32002, {"uri": "u"}), (400, -32602, {"uri": "u"})),
        (Failure(-32602, "Resource not found", b"[1]"), (-32602, [1]), (400, -32602, [1])),
        (Failure(-31000, "own"), (-31000, None), (200, -31000, None)),
    ],
)
async def test_a_resource_that_is_not_there_has_the_code_of_its_era(
    client: McpClient, modern: ModernClient, requests: FakeRequests, script: Any, legacy: Any, current: Any
) -> None:
    """2025-11-25: -32002; 2026-07-28: -32602 with HTTP 400."""
    requests.scripts["resources/read"] = [script]
    error = (await client.call("resources/read", URI)).json["error"]
    assert (error["code"], error.get("data")) == legacy
    reply = await modern.call("resources/read", URI)
    error = reply.json["error"]
    assert (reply.status, error["code"], error.get("data")) == current


async def test_an_unknown_prompt_is_32602_on_both_legs(
    client: McpClient, modern: ModernClient, requests: FakeRequests
) -> None:
    """MCP, Prompts, Error Handling."""
    requests.scripts["prompts/get"] = [PromptUnknown("p")]
    for reply in (await client.call("prompts/get", NAME), await modern.call("prompts/get", NAME)):
        assert reply.json["error"] == {"code": -32602, "message": "Unknown prompt: p"}


async def test_params_go_on_byte_for_byte_and_results_come_back_so(client: McpClient, requests: FakeRequests) -> None:
    """relay.md 1."""
    requests.scripts["prompts/get"] = [Result(b'{"messages":[],"v":1.50}')]
    body = b'{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p","z":1.250}}'
    reply = await client.post(body)
    assert requests.relayed == [("prompts/get", b'{"name":"p","z":1.250}')]
    assert b'"v":1.50' in reply.body


@pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe", "initialize", "roots/list"])
async def test_what_2026_has_no_more_is_404_and_reaches_no_backend(
    modern: ModernClient, requests: FakeRequests, method: str
) -> None:
    """2026-07-28, Changelog: removed methods are unknown methods."""
    reply = await modern.call(method, URI)
    assert (reply.status, reply.json["error"]["code"]) == (404, -32601)
    assert requests.relayed == []


@pytest.mark.parametrize("level", [None, "loud", 7])
async def test_a_log_level_that_there_is_not_is_named(in_session: McpClient, level: Any) -> None:
    """2025-11-25, Logging, Error Handling: -32602."""
    error = (await in_session.call("logging/setLevel", {"level": level})).json["error"]
    assert error["code"] == -32602
    assert "params.level" in error["message"]


async def test_unknown_notifications_are_passed_on_and_known_ones_are_not(
    in_session: McpClient, modern: ModernClient, requests: FakeRequests
) -> None:
    """relay.md 8."""
    for method in ("notifications/initialized", "notifications/vendor"):
        reply = await in_session.post({"jsonrpc": "2.0", "method": method, "params": {"a": 1}})
        assert reply.status == 202
    assert [(method, json.loads(params)) for method, params in requests.told] == [("notifications/vendor", {"a": 1})]
