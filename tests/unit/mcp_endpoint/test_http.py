"""What is HTTP about /mcp: methods, origin, types, sizes, and storage that is away."""

import asyncio
import json

import pytest

from gateway_proxy.domain.errors import RateLimited, StorageUnavailable
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from tests.support.fake_router import FakeToolCalls
from tests.unit.mcp_endpoint.conftest import Connect, McpClient, request

PING = json.dumps(request("ping")).encode()
TYPED = [("content-type", "application/json"), ("accept", "*/*")]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("https://gw.example", 200),
        ("https://app.example", 200),
        ("HTTPS://App.Example", 200),
        ("https://evil.example", 403),
        ("http://gw.example", 403),
        ("https://gw.example:8443", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_only_our_own_and_configured_origins_may_call(client: McpClient, origin: str | None, status: int) -> None:
    """MCP, Streamable HTTP §Security Warning: DNS rebinding; no Origin is no browser."""
    headers = {} if origin is None else {"origin": origin}
    assert (await client.call("ping", **headers)).status == status


@pytest.mark.parametrize(
    ("origin", "listed", "allowed"),
    [
        (b"http://localhost:6274", (), True),
        (b"http://127.0.0.1", (), True),
        (b"http://localhost.evil.example", (), False),
        (b"http://localhost:6274", ("https://app.example",), False),
        (b"https://evil.example", (), False),
        (b"https://evil.example", ("*",), True),
    ],
)
def test_without_a_list_loopback_pages_may_call(origin: bytes, listed: tuple[str, ...], allowed: bool) -> None:
    """Settings, GATEWAY_CORS_ORIGINS: what a preflight allows, the endpoint allows too."""
    assert EndpointConfig("https://gw.example", listed).is_allowed_origin(origin) is allowed


async def test_two_origins_are_not_one(client: McpClient) -> None:
    """A doubled Origin is a trick."""
    headers = [*TYPED, ("origin", "https://gw.example"), ("origin", "https://evil.example")]
    assert (await client.asgi.send("POST", PING, headers)).status == 403


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/event-stream", None])
async def test_lenient_about_accept(client: McpClient, accept: str | None) -> None:
    """Claude and Open WebUI probe with one type or with */*."""
    reply = await client.call("ping", accept=accept)  # type: ignore[arg-type]  # None leaves the header out
    assert (reply.status, reply.json["result"]) == (200, {})


async def test_a_client_that_takes_only_streams_gets_one(client: McpClient) -> None:
    """It asked for it."""
    reply = await client.call("initialize", {}, accept="text/event-stream")
    assert reply.events[0]["result"]["protocolVersion"] == "2025-11-25"
    assert "mcp-session-id" in reply.headers


async def test_a_client_that_names_streams_first_gets_one(client: McpClient) -> None:
    """MCP 2025-11-25, Sending Messages 5: the server may choose, and the client has said what it would."""
    assert (await client.call("ping", accept="text/event-stream, application/json")).events[0]["result"] == {}
    refused = await client.call("tools/list", {"cursor": 1}, accept="text/event-stream, application/json")
    assert refused.events[0]["error"]["code"] == -32602


async def test_a_client_that_takes_neither_is_told_what_there_is(client: McpClient) -> None:
    """RFC 9110 §15.5.7."""
    reply = await client.call("ping", accept="text/html")
    assert reply.status == 406
    assert "text/event-stream" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": None},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_read(client: McpClient, headers: dict[str, str]) -> None:
    """RFC 9110 §15.5.16; no Content-Encoding (security D1)."""
    assert (await client.call("ping", **headers)).status == 415


@pytest.mark.parametrize("declared", [None, "99999999", "x"])
async def test_a_body_over_four_mebibytes_is_refused(client: McpClient, declared: str | None) -> None:
    """Security D1, whether or not the size is declared."""
    headers = TYPED if declared is None else [*TYPED, ("content-length", declared)]
    parts = [b"{", *[b" " * 65536] * 65, b"}"]
    reply = await client.asgi.send("POST", headers=headers, parts=parts)
    assert reply.status == 413
    assert reply.json["error"]["code"] == -32600


async def test_a_body_in_pieces_is_one_body(client: McpClient) -> None:
    """Chunked requests."""
    reply = await client.asgi.send("POST", headers=TYPED, parts=[PING[:5], b"", PING[5:], b""])
    assert reply.json["result"] == {}


async def test_a_body_that_does_not_come_is_given_up(client: McpClient) -> None:
    """Security D4: a slow sender holds no worker."""
    reply = await client.asgi.begin("POST", None, TYPED).reply()
    assert reply.status == 408


async def test_a_client_that_leaves_while_sending_is_forgotten(client: McpClient) -> None:
    """Nobody is there to answer."""
    conversation = client.asgi.begin("POST", None, TYPED)
    conversation.inbox.put_nowait({"type": "http.request", "body": PING[:3], "more_body": True})
    conversation.hang_up()
    async with asyncio.timeout(5):
        await conversation.task
    assert conversation.outbox.empty()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE"])
async def test_other_methods_are_not_allowed(client: McpClient, method: str) -> None:
    """RFC 9110 §15.5.6: 405 carries Allow."""
    reply = await client.send(method)
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, POST, DELETE"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_get_without_a_session_is_405(client: McpClient, method: str) -> None:
    """MCP 2025-11-25, Listening for Messages 3: clients accept that there is no stream."""
    reply = await client.send(method)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_an_unknown_session_is_404_for_every_method(client: McpClient, method: str) -> None:
    """MCP 2025-11-25, Session Management 3."""
    assert (await client.send(method, mcp_session_id="unknown")).status == 404


async def test_a_get_that_takes_no_stream_is_406(in_session: McpClient) -> None:
    """MCP 2025-11-25, Listening for Messages 2."""
    assert (await in_session.send("GET", accept="application/json")).status == 406


async def test_head_answers_like_get_without_the_stream(in_session: McpClient) -> None:
    """RFC 9110 §9.3.2; Claude.ai has been seen to probe with it."""
    reply = await in_session.send("HEAD")
    assert (reply.status, reply.is_stream, reply.body) == (200, True, b"")


async def test_a_token_in_the_query_is_not_looked_at(connect: Connect, client: McpClient) -> None:
    """contract.md, Tokens: never in the query; here it changes nothing at all."""
    plain = await client.asgi.send("POST", PING, TYPED)
    with_token = await client.asgi.send("POST", PING, TYPED, query=b"access_token=gw_at_x&session_id=y")
    assert plain == with_token


async def test_storage_that_is_away_is_503_with_retry_after(client: McpClient, calls: FakeToolCalls) -> None:
    """Security O4, O5: never a 404, never a 500."""
    calls.scripts["fails"] = [StorageUnavailable()]
    reply = await client.call("tools/call", {"name": "fails"})
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json["error"]["code"] == -32000


async def test_a_rate_limit_is_429_with_retry_after(client: McpClient, calls: FakeToolCalls) -> None:
    """Security L2."""
    calls.scripts["fails"] = [RateLimited(7.4)]
    reply = await client.call("tools/call", {"name": "fails"})
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
