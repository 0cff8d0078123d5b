"""The handshake era over HTTP: initialize, sessions, lists and calls."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.domain.errors import BackendMisbehaved, BackendTimeout, BackendUnavailable, ResultTooLarge
from gateway_proxy.router.messages import Failure
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.fake_router import FakeCatalog, FakeToolCalls
from tests.unit.mcp_endpoint.conftest import Connect, McpClient, context, request


@pytest.mark.parametrize("asked", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_initialize_echoes_a_version_it_knows_and_issues_a_session(client: McpClient, asked: str) -> None:
    """MCP 2025-11-25, Lifecycle §Version Negotiation; Session Management 1."""
    reply = await client.call("initialize", {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "x"}})

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert len(reply.headers["mcp-session-id"]) >= 22
    result = reply.json["result"]
    assert result["protocolVersion"] == asked
    assert set(result["capabilities"]) == {"tools", "prompts", "resources", "completions", "logging"}
    assert result["serverInfo"] == {"name": "gateway-proxy", "title": "MCP gateway", "version": "9.9"}
    assert "begins with that of its server" in result["instructions"]  # whatever stands between the two


@pytest.mark.parametrize("asked", ["2026-07-28", "1.0", "", "9999-99-99"])
async def test_initialize_offers_the_newest_version_to_anybody_else(client: McpClient, asked: str) -> None:
    """MCP 2025-11-25, Lifecycle §Version Negotiation."""
    reply = await client.call("initialize", {"protocolVersion": asked})
    assert reply.json["result"]["protocolVersion"] == "2025-11-25"


async def test_an_empty_initialize_is_served(client: McpClient) -> None:
    """Open WebUI probes with empty params (reference/openai-clients.md §1c)."""
    assert (await client.call("initialize", {})).status == 200
    assert (await client.call("initialize")).status == 200


async def test_initialize_with_a_dead_session_id_opens_a_new_one(client: McpClient) -> None:
    """Claude.ai has kept a dead id after a 404 (clients.md, CAI#450)."""
    reply = await client.call("initialize", {}, mcp_session_id="dead")
    assert reply.status == 200
    assert reply.headers["mcp-session-id"] != "dead"


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"protocolVersion": 3}, "params.protocolVersion"),
        ({"capabilities": []}, "params.capabilities"),
        ({"clientInfo": "x"}, "params.clientInfo"),
        ({"clientInfo": {"name": "x" * 40_000}}, "larger than 32768"),
    ],
)
async def test_a_bad_initialize_names_the_field(client: McpClient, params: dict[str, Any], field: str) -> None:
    """contract.md, Errors: bad input gets a message that names the field."""
    reply = await client.call("initialize", params)
    assert reply.json["error"]["code"] == -32602
    assert field in reply.json["error"]["message"]


async def test_a_session_remembers_what_its_client_said(
    client: McpClient, in_session: McpClient, calls: FakeToolCalls, connect: Connect
) -> None:
    """relay.md 2: backends are told of the client's own capabilities, byte for byte."""
    opened = await client.post(
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":'
        b'{"protocolVersion":"2025-06-18","capabilities":{ "x":1.0},"clientInfo":{"name":"n", "v":2}}}'
    )
    with_session = connect(mcp_session_id=opened.headers["mcp-session-id"])
    await with_session.call("tools/call", {"name": "echo"})

    caller = calls.calls[-1].caller
    assert caller.session_id == opened.headers["mcp-session-id"]
    assert caller.protocol_version == "2025-06-18"
    assert caller.capabilities_json == b'{ "x":1.0}'
    assert caller.client_info_json == b'{"name":"n", "v":2}'
    assert caller.modern is False


async def test_a_call_without_a_session_is_served(client: McpClient, calls: FakeToolCalls) -> None:
    """relay.md 2: Claude.ai does not echo the session id; such a call is stateless, never an error."""
    reply = await client.call("tools/call", {"name": "echo", "arguments": {"a": 1}})

    assert reply.status == 200
    assert reply.body == (
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hi"}],"x-vendor":{"kept":1.50}}}'
    )
    assert calls.calls[0].caller.session_id is None
    assert calls.calls[0].arguments == {"a": 1}


async def test_params_reach_the_router_byte_for_byte(client: McpClient, calls: FakeToolCalls) -> None:
    """relay.md 1: unknown fields, number formats and order survive."""
    params = b'{"x":1.0, "name":"echo","_meta":{"progressToken":1e2},"arguments":{"b":0.10,"a":"\\u00e9"}}'
    await client.post(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params)
    assert calls.calls[0].params == params


@pytest.mark.parametrize("method", ["ping", "tools/list", "tools/call", "nope/nope"])
async def test_an_unknown_session_is_404_for_every_request(client: McpClient, method: str) -> None:
    """MCP 2025-11-25, Session Management 3: the client must open a new session."""
    reply = await client.call(method, {"name": "echo"}, mcp_session_id="unknown")
    assert reply.status == 404
    assert reply.json["id"] == 1
    assert reply.json["error"]["code"] == -32600


@pytest.mark.parametrize("stranger", [context("other"), context(user="bob"), context(client="cursor")])
async def test_a_foreign_session_gets_the_bytes_of_an_unknown_one(
    in_session: McpClient, connect: Connect, stranger: Any
) -> None:
    """Security S1."""
    thief = connect(stranger)
    foreign = await thief.call("ping", mcp_session_id=in_session.headers["mcp-session-id"])
    unknown = await thief.call("ping", mcp_session_id="unknown")
    assert (foreign.status, foreign.body, foreign.headers) == (unknown.status, unknown.body, unknown.headers)
    assert (await in_session.call("ping")).status == 200


async def test_a_session_survives_a_refreshed_token(in_session: McpClient, connect: Connect) -> None:
    """Security S2."""
    refreshed = connect(context(token=b"u" * 32), mcp_session_id=in_session.headers["mcp-session-id"])
    assert (await refreshed.call("ping")).json == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_lists_are_paged(client: McpClient) -> None:
    """MCP 2025-11-25, Pagination; the raw array passes untouched."""
    first = await client.call("tools/list")
    assert first.body == (
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"acme__echo","x-vendor":1}],"nextCursor":"two\\""}}'
    )
    second = await client.call("tools/list", {"cursor": first.json["result"]["nextCursor"]})
    assert second.json["result"] == {"tools": []}


@pytest.mark.parametrize("cursor", ["nonsense", 7])
async def test_a_bad_cursor_names_the_field(client: McpClient, cursor: Any) -> None:
    """MCP 2025-11-25, Pagination §Error Handling: -32602."""
    reply = await client.call("tools/list", {"cursor": cursor})
    assert reply.status == 200
    assert reply.json["error"]["code"] == -32602
    assert "params.cursor" in reply.json["error"]["message"]


async def test_the_list_of_a_session_knows_its_caller(in_session: McpClient, catalog: FakeCatalog) -> None:
    """The catalog may list differently by what the client can do."""
    await in_session.call("tools/list")
    assert catalog.callers[0].session_id == in_session.headers["mcp-session-id"]


@pytest.mark.parametrize(
    "method", ["server/discover", "subscriptions/listen", "elicitation/create", "nope", "notifications/x"]
)
async def test_an_unknown_method_is_32601(client: McpClient, method: str) -> None:
    """JSON-RPC 2.0 §5.1; HTTP 200 in this era."""
    reply = await client.call(method, request_id="a")
    assert reply.status == 200
    assert reply.json["id"] == "a"
    assert reply.json["error"]["code"] == -32601


async def test_an_unknown_tool_is_a_result_that_the_model_can_read(client: McpClient) -> None:
    """reference/compatibility.md B6."""
    reply = await client.call("tools/call", {"name": 'no"pe'})
    assert reply.status == 200
    assert reply.json["result"] == {"content": [{"type": "text", "text": 'Unknown tool: no"pe'}], "isError": True}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (None, "params.name: missing"),
        ({"name": 3}, "params.name: expected str, got int"),
        ({"name": "echo", "arguments": []}, "params.arguments: expected an object"),
        ({"name": "echo", "arguments": "x"}, "params.arguments: expected an object"),
    ],
)
async def test_bad_call_parameters_name_the_field(client: McpClient, params: Any, field: str) -> None:
    """contract.md, Errors."""
    reply = await client.call("tools/call", params)
    assert reply.status == 200
    assert reply.json["error"]["code"] == -32602
    assert field in reply.json["error"]["message"]


async def test_a_backends_error_is_passed_on(client: McpClient, calls: FakeToolCalls) -> None:
    """relay.md: a JSON-RPC error is the backend's word, data included."""
    calls.scripts["fails"] = [Failure(-32042, 'see "url"', b'{"elicitations":[1.0]}')]
    reply = await client.call("tools/call", {"name": "fails"})
    assert reply.status == 200
    assert b'"error":{"code":-32042,"message":"see \\"url\\"","data":{"elicitations":[1.0]}}' in reply.body


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (BackendUnavailable("calc"), -32000, "'calc' is not available"),
        (BackendUnavailable("calc", 4.2), -32000, "try again in 4 s"),
        (BackendUnavailable("calc", 5, is_starting=True), -32000, "'calc' is still being started; try again in 5 s"),
        (BackendTimeout("calc", 300), -32001, "within 300 s"),
        (BackendMisbehaved("calc", "not JSON"), -32003, "not JSON"),
        (ResultTooLarge("calc", 10), -32004, "larger than 10 bytes"),
    ],
)
async def test_a_failing_backend_is_named_in_a_plain_sentence(
    client: McpClient, calls: FakeToolCalls, error: Any, code: int, part: str
) -> None:
    """Security O6: its tools error, in the shape of the protocol."""
    calls.scripts["fails"] = [error]
    reply = await client.call("tools/call", {"name": "fails"}, request_id="q")
    assert reply.status == 200
    assert reply.json["id"] == "q"
    assert reply.json["error"]["code"] == code
    assert part in reply.json["error"]["message"]


async def test_notifications_and_responses_are_accepted(in_session: McpClient, sessions: MemorySessionStore) -> None:
    """MCP 2025-11-25, Sending Messages 4: 202 without a body."""
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/whatever", "params": {"x": 1}},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
    ):
        reply = await in_session.post(message)
        assert (reply.status, reply.body) == (202, b"")

    record = await sessions.find(
        in_session.headers["mcp-session-id"], tenant_id="acme", user_id="ann", client_id="claude"
    )
    assert record is not None
    assert record.initialized


async def test_a_malformed_cancellation_is_ignored(in_session: McpClient) -> None:
    """MCP 2025-11-25, Cancellation, Error Handling; nothing is ever said to a notification."""
    malformed: list[dict[str, object]] = [{"requestId": {}}, {"requestId": 1.5}, {}]
    for params in malformed:
        reply = await in_session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        assert (reply.status, reply.body) == (202, b"")


async def test_a_refused_request_is_refused_by_its_id(client: McpClient) -> None:
    """MCP, Responses: the same id as the request, where it can be read."""
    reply = await client.post({"jsonrpc": "2.0", "id": "q", "method": "ping", "params": []})
    assert (reply.status, reply.json["id"]) == (400, "q")


async def test_two_protocol_versions_are_refused(client: McpClient) -> None:
    """Security S5: who reads the last one would take the request for one of the other era."""
    pairs = [("content-type", "application/json"), ("mcp-protocol-version", "2025-11-25")]
    body = json.dumps(request("ping")).encode()
    reply = await client.asgi.send("POST", body, [*pairs, ("mcp-protocol-version", "2026-07-28")])
    assert (reply.status, reply.json["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize("values", [["2025-11-25", "2025-11-25"], ["2025-11-25, 2025-11-25"]])
async def test_a_protocol_version_said_twice_is_one(client: McpClient, values: list[str]) -> None:
    """Cursor, and bridges in front, add the header to one that is there; a Headers object joins the two."""
    pairs = [("content-type", "application/json"), *(("mcp-protocol-version", value) for value in values)]
    reply = await client.asgi.send("POST", json.dumps(request("ping")).encode(), pairs)
    assert (reply.status, reply.json["result"]) == (200, {})


async def test_a_notification_needs_a_living_session_if_it_names_one(client: McpClient) -> None:
    """MCP 2025-11-25, Session Management 3."""
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await client.post(message)).status == 202
    assert (await client.post(message, mcp_session_id="unknown")).status == 404


async def test_delete_ends_the_session(in_session: McpClient, calls: FakeToolCalls) -> None:
    """MCP 2025-11-25, Session Management 5; what backends hold for this session alone is ended, too."""
    ended = await in_session.send("DELETE")
    assert ended.status == 204
    assert "content-length" not in ended.headers
    assert calls.ended == [in_session.headers["mcp-session-id"]]
    assert (await in_session.call("ping")).status == 404
    assert (await in_session.send("DELETE")).status == 404


async def test_delete_without_a_session_id_says_so(client: McpClient) -> None:
    """There is nothing to end."""
    reply = await client.send("DELETE")
    assert reply.status == 400
    assert "Mcp-Session-Id" in reply.json["error"]["message"]


@pytest.mark.parametrize("version", [None, "2024-11-05", "2025-11-25"])
async def test_the_version_header_of_a_handshake_version_stays_on_this_leg(
    in_session: McpClient, version: str | None
) -> None:
    """Routing by header, as the SDK routes."""
    plain = replace(
        in_session, headers={**in_session.headers, **({"mcp-protocol-version": version} if version else {})}
    )
    assert (await plain.call("ping")).json == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_ids_come_back_as_they_were_written(client: McpClient) -> None:
    """Big integers and odd strings are data."""
    for request_id in ("123456789012345678901234567890", '"\\u0061\\n"', "-0"):
        reply = await client.post(f'{{"jsonrpc":"2.0","id":{request_id},"method":"ping"}}'.encode())
        assert reply.body == f'{{"jsonrpc":"2.0","id":{request_id},"result":{{}}}}'.encode()
    assert json.loads("-0") == 0
