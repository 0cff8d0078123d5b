"""Batches of 2025-03-26: many messages in one POST, answered together."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_router import FakeToolCalls
from tests.unit.mcp_endpoint.conftest import McpClient, request

NOTE = {"jsonrpc": "2.0", "method": "notifications/whatever"}
ANSWER = {"jsonrpc": "2.0", "id": "gw-0000000000000000-1", "result": {}}


@pytest.fixture
async def in_batch_session(client: McpClient) -> McpClient:
    """A client of the one revision that has batches."""
    reply = await client.call("initialize", {"protocolVersion": "2025-03-26"})
    return replace(client, headers={"mcp-session-id": reply.headers["mcp-session-id"]})


def by_id(messages: list[Any]) -> dict[Any, Any]:
    """The responses among some messages."""
    return {message["id"]: message for message in messages if "method" not in message}


async def test_every_request_of_a_batch_is_answered_on_one_stream(
    in_batch_session: McpClient, calls: FakeToolCalls
) -> None:
    """MCP 2025-03-26, Sending Messages: one response per request; what comes before a response comes too."""
    batch = [
        request("ping", request_id="p"),
        NOTE,
        request("tools/call", {"name": "progress"}, request_id=2),
        request("nope", request_id=3),
        ANSWER,
    ]
    reply = await in_batch_session.post(batch)
    assert (reply.status, reply.is_stream) == (200, True)
    answers = by_id(reply.events)
    assert answers.keys() == {"p", 2, 3}
    assert answers["p"]["result"] == {}
    assert answers[3]["error"]["code"] == -32601
    assert [each["method"] for each in reply.events if "method" in each] == ["notifications/progress"]
    assert calls.calls[0].caller.session_id == in_batch_session.headers["mcp-session-id"]


async def test_a_client_without_streams_gets_an_array(client: McpClient) -> None:
    """JSON-RPC 2.0 §6; without a session and a version header the revision is taken for 2025-03-26."""
    batch = [request("ping"), NOTE, request("ping", request_id=2), 7, []]
    reply = await client.post(batch, accept="application/json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert {1, 2, None} == by_id(reply.json).keys()
    assert [each["error"]["code"] for each in reply.json if "error" in each] == [-32600, -32600]


async def test_a_batch_without_a_request_is_accepted(in_batch_session: McpClient) -> None:
    """MCP 2025-03-26, Sending Messages: 202 without a body for notifications and responses."""
    reply = await in_batch_session.post([NOTE, ANSWER])
    assert (reply.status, reply.body) == (202, b"")


@pytest.mark.parametrize(
    ("batch", "version"),
    [
        ([request("ping")], "2025-06-18"),
        ([request("ping")], "2025-11-25"),
        ([request("ping")], "2024-11-05"),
        ([], "2025-03-26"),
        ([request("ping")] * 65, "2025-03-26"),
        ([request("ping"), request("initialize", request_id=2)], "2025-03-26"),
    ],
)
async def test_what_is_no_batch_of_that_revision_is_refused(client: McpClient, batch: Any, version: str) -> None:
    """MCP 2025-06-18 removed batches; 2025-03-26, Lifecycle: initialize must not be part of one."""
    reply = await client.post(batch, mcp_protocol_version=version)
    assert (reply.status, reply.json["error"]["code"], reply.json["id"]) == (400, -32600, None)


async def test_the_session_decides_whether_there_are_batches(in_session: McpClient) -> None:
    """MCP 2025-11-25: it was negotiated with the session, whatever a header says."""
    assert (await in_session.post([request("ping")], mcp_protocol_version="2025-03-26")).status == 400
    unknown = await in_session.post([request("ping")], mcp_session_id="unknown")
    assert unknown.status == 404


async def test_hanging_up_cancels_every_call_of_a_batch(client: McpClient, calls: FakeToolCalls) -> None:
    """The client of a batch is one client."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    calls.scripts |= {"a": [for_ever], "b": [for_ever]}
    batch = [request("tools/call", {"name": name}, request_id=name) for name in ("a", "b")]
    conversation = client.begin(json.dumps(batch).encode())
    await calls.started.wait()
    conversation.hang_up()
    async with asyncio.timeout(5):
        await conversation.task
    assert sorted(calls.closed) == ["a", "b"]
