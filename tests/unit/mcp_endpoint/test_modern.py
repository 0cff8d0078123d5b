"""2026-07-28 over HTTP: every request alone, its headers held against its body."""

import base64
import json
from typing import Any

import pytest

from gateway_proxy.domain.errors import BackendUnavailable
from gateway_proxy.mcp_endpoint.errors import MODERN_STATUS
from gateway_proxy.router.messages import Failure, Result
from tests.support.fake_router import FakeCatalog, FakeToolCalls
from tests.unit.mcp_endpoint.conftest import META, McpClient, ModernClient, request

VERSION = "2026-07-28"


async def test_discover_describes_the_gateway(modern: ModernClient) -> None:
    """MCP 2026-07-28, server/discover."""
    reply = await modern.call("server/discover")

    assert reply.status == 200
    assert "mcp-session-id" not in reply.headers
    result = reply.json["result"]
    assert result["resultType"] == "complete"
    assert result["supportedVersions"] == [VERSION]
    assert "tools" in result["capabilities"]
    assert result["instructions"]
    assert (result["ttlMs"] >= 0, result["cacheScope"]) == (True, "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"] == "9.9"


async def test_lists_say_how_long_and_for_whom_they_may_be_kept(modern: ModernClient, catalog: FakeCatalog) -> None:
    """MCP 2026-07-28, Caching: a list filtered per user is private."""
    reply = await modern.call("tools/list")
    result = reply.json["result"]
    assert result["tools"] == [{"name": "acme__echo", "x-vendor": 1}]
    assert result["nextCursor"] == 'two"'
    assert (result["resultType"], result["cacheScope"], result["ttlMs"]) == ("complete", "private", 10_000)
    assert catalog.callers[0].modern
    last = await modern.call("tools/list", {"cursor": 'two"'})
    assert last.json["result"]["tools"] == []
    assert "nextCursor" not in last.json["result"]


async def test_a_call_knows_its_caller_from_the_request_alone(modern: ModernClient, calls: FakeToolCalls) -> None:
    """MCP 2026-07-28, Per-request protocol fields."""
    reply = await modern.call("tools/call", {"name": "echo", "arguments": {"a": 1}})

    assert reply.status == 200
    assert reply.json["result"]["resultType"] == "complete"
    caller = calls.calls[0].caller
    assert (caller.modern, caller.session_id, caller.protocol_version) == (True, None, VERSION)
    assert json.loads(caller.capabilities_json) == {"elicitation": {}}
    assert json.loads(caller.client_info_json) == {"name": "t", "version": "1"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"content":[]}', b'{"resultType":"complete","content":[]}'),
        (b"{}", b'{"resultType":"complete"}'),
        (b" { } ", b'{"resultType":"complete"} '),
        (b'{"a":{"resultType":"x"}}', b'{"resultType":"complete","a":{"resultType":"x"}}'),
        (b'{"resultType":"input_required","x":1.0}', b'{"resultType":"input_required","x":1.0}'),
    ],
)
async def test_a_result_without_a_type_is_complete_and_otherwise_untouched(
    modern: ModernClient, calls: FakeToolCalls, raw: bytes, expected: bytes
) -> None:
    """MCP 2026-07-28: every result has a resultType; backends of the handshake era send none."""
    calls.scripts["t"] = [Result(raw)]
    reply = await modern.call("tools/call", {"name": "t"})
    assert reply.body == b'{"jsonrpc":"2.0","id":1,"result":%b}' % expected


async def test_a_result_that_is_no_object_is_the_backends_fault(modern: ModernClient, calls: FakeToolCalls) -> None:
    """Nothing malformed is passed on as a result."""
    calls.scripts["t"] = [Result(b"[1]")]
    reply = await modern.call("tools/call", {"name": "t"})
    assert reply.json["error"]["code"] == -32603


async def test_an_unknown_tool_is_32602(modern: ModernClient) -> None:
    """MCP 2026-07-28, Tools §Error Handling."""
    reply = await modern.call("tools/call", {"name": "nope"})
    assert reply.status == 400
    assert reply.json["error"] == {"code": -32602, "message": "Unknown tool: nope"}


@pytest.mark.parametrize("version", [VERSION, "2099-01-01"])
async def test_initialize_opens_a_session_whatever_the_header_asks_for(client: McpClient, version: str) -> None:
    """MCP 2026-07-28, Versioning: it selects the older era. Some bridges put what they ask for into the header."""
    reply = await client.call("initialize", {"protocolVersion": version}, mcp_protocol_version=version)
    assert (reply.status, reply.json["result"]["protocolVersion"]) == (200, "2025-11-25")
    assert (await client.call("ping", mcp_session_id=reply.headers["mcp-session-id"])).status == 200


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "nope"])
async def test_an_unknown_method_is_404(modern: ModernClient, method: str) -> None:
    """MCP 2026-07-28, Streamable HTTP: 404 with -32601; initialize and ping are gone."""
    reply = await modern.call(method)
    assert reply.status == 404
    assert reply.json["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"mcp_method": "tools/list"}, -32020),
        ({"mcp_method": None}, -32020),
        ({"mcp_method": "Tools/Call"}, -32020),
        ({"mcp_name": "other"}, -32020),
        ({"mcp_name": None}, -32020),
        ({"mcp_name": "=?base64?aGk=?="}, -32020),
        ({"mcp_name": "=?base64?!?="}, -32020),
        ({"mcp_protocol_version": "2027-01-01"}, -32020),
    ],
)
async def test_headers_that_contradict_the_body_are_refused_before_anything_is_called(
    modern: ModernClient, calls: FakeToolCalls, changed: dict[str, Any], code: int
) -> None:
    """Security S5: intermediaries route on the header, we act on the body."""
    reply = await modern.call("tools/call", {"name": "echo"}, **changed)
    assert reply.status == 400
    assert reply.json["id"] == 1
    assert reply.json["error"]["code"] == code
    assert calls.calls == []


@pytest.mark.parametrize(
    ("name", "value"), [("mcp-method", "tools/call"), ("mcp-name", "echo"), ("mcp-protocol-version", "2025-11-25")]
)
async def test_a_doubled_routing_header_is_refused(
    client: McpClient, calls: FakeToolCalls, name: str, value: str
) -> None:
    """Security S5: readers of the first and of the last copy might disagree."""
    headers = [
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
    ]
    headers.append((name, value))
    body = json.dumps(request("tools/call", {"name": "echo", "_meta": META})).encode()
    reply = await client.asgi.send("POST", body, headers)
    assert reply.status == 400
    assert reply.json["error"]["code"] == -32020
    assert calls.calls == []


async def test_a_name_outside_ascii_travels_in_the_sentinel(modern: ModernClient, calls: FakeToolCalls) -> None:
    """MCP 2026-07-28, Streamable HTTP: =?base64?…?=."""
    calls.scripts["é"] = calls.scripts["echo"]
    encoded = f"=?base64?{base64.b64encode('é'.encode()).decode()}?="
    assert (await modern.call("tools/call", {"name": "é"}, mcp_name=encoded)).status == 200


async def test_an_unknown_version_is_told_what_is_spoken(modern: ModernClient) -> None:
    """MCP 2026-07-28: -32022 with the supported versions, so that the client can choose."""
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    reply = await modern.call("server/discover", {"_meta": meta}, mcp_protocol_version="2030-01-01")
    assert reply.status == 400
    assert reply.json["error"]["code"] == -32022
    assert reply.json["error"]["data"] == {"supported": [VERSION], "requested": "2030-01-01"}


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        {},
        {"io.modelcontextprotocol/protocolVersion": VERSION},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {**META, "io.modelcontextprotocol/clientCapabilities": 3},
        {**META, "io.modelcontextprotocol/clientInfo": "x"},
    ],
)
async def test_an_incomplete_meta_is_32602(modern: ModernClient, meta: Any) -> None:
    """MCP 2026-07-28, Per-request protocol fields."""
    reply = await modern.call("tools/list", {"_meta": meta})
    assert reply.status == 400
    assert reply.json["error"]["code"] == -32602
    assert "params._meta" in reply.json["error"]["message"]


async def test_a_session_id_means_nothing_here(modern: ModernClient) -> None:
    """MCP 2026-07-28 has no sessions; a left-over header is no reason to refuse."""
    reply = await modern.call("tools/list", mcp_session_id="unknown")
    assert reply.status == 200


async def test_a_notification_is_accepted_and_dropped(client: McpClient) -> None:
    """As the SDK does; a version that is not spoken is told so even then."""
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert (await client.post(note, mcp_protocol_version=VERSION)).status == 202
    refused = await client.post(note, mcp_protocol_version="2030-01-01")
    assert (refused.status, refused.json["error"]["code"], refused.json["id"]) == (400, -32022, None)


@pytest.mark.parametrize("message", [{"jsonrpc": "2.0", "id": 1, "result": {}}, [request("tools/list")], "x"])
async def test_anything_but_a_request_or_notification_is_refused(client: McpClient, message: Any) -> None:
    """MCP 2026-07-28, Sending Messages 4."""
    reply = await client.post(json.dumps(message).encode(), mcp_protocol_version=VERSION)
    assert reply.status == 400
    assert reply.json["error"]["code"] == -32600


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
async def test_only_post_exists(client: McpClient, method: str) -> None:
    """MCP 2026-07-28, Streamable HTTP."""
    reply = await client.send(method, mcp_protocol_version=VERSION)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(("code", "status"), [*MODERN_STATUS.items(), (-32603, 200), (-1, 200)])
async def test_a_backends_error_has_the_status_of_its_code(
    modern: ModernClient, calls: FakeToolCalls, code: int, status: int
) -> None:
    """One table for our errors and the backend's, as in the SDK."""
    calls.scripts["fails"] = [Failure(code, "no")]
    reply = await modern.call("tools/call", {"name": "fails"})
    assert (reply.status, reply.json["error"]["code"]) == (status, code)


async def test_an_unavailable_backend_is_an_error_of_the_call(modern: ModernClient, calls: FakeToolCalls) -> None:
    """Security O6."""
    calls.scripts["fails"] = [BackendUnavailable("calc")]
    reply = await modern.call("tools/call", {"name": "fails"})
    assert (reply.status, reply.json["error"]["code"]) == (200, -32000)


def test_our_statuses_are_those_of_the_sdk() -> None:
    """errors.py repeats the table only to keep the SDK out of the worker's start."""
    from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS  # noqa: PLC0415  # slow to import; only this test needs it

    assert dict(ERROR_CODE_HTTP_STATUS) == dict(MODERN_STATUS)
