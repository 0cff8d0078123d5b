"""Attacks on the way in: framing, trailers, heads and paths that no honest client sends, at a real worker."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.raw_http import read_reply, request, send_raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
JSON = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Bootstrapped]:
    async with bootstrapped_gateway() as running:
        yield running


def _head(gateway: Bootstrapped, extra: str, *, token: bool = True) -> bytes:
    bearer = f"Authorization: Bearer {gateway.token}\r\n" if token else ""
    netloc = gateway.url.removeprefix("http://")
    return f"POST /mcp HTTP/1.1\r\nHost: {netloc}\r\n{JSON}{bearer}{extra}\r\n".encode("latin-1")


async def test_a_credential_in_a_trailer_is_none(gateway: Bootstrapped) -> None:
    """RFC 9110 §6.5.1, security RS1: what comes behind the body was seen by no proxy and no check."""
    trailer = f"0\r\nAuthorization: Bearer {gateway.token}\r\n\r\n".encode()
    chunk = b"%x\r\n" % len(PING) + PING + b"\r\n"
    head = _head(gateway, "Transfer-Encoding: chunked\r\nConnection: close\r\n", token=False)

    reply = read_reply(await send_raw(gateway.url, head + chunk + trailer))

    assert reply.status == 401


async def test_a_trailer_cannot_add_a_second_host_or_session_to_a_request(gateway: Bootstrapped) -> None:
    """The headers of a request are what they were when it was judged."""
    chunk = b"%x\r\n" % len(PING) + PING + b"\r\n"
    head = _head(gateway, "Transfer-Encoding: chunked\r\nConnection: close\r\n")
    trailer = b"0\r\nHost: evil.example\r\nMcp-Session-Id: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"

    reply = read_reply(await send_raw(gateway.url, head + chunk + trailer))

    assert reply.status == 200
    assert json.loads(reply.body)["result"] == {}


@pytest.mark.parametrize("piece", [b"X-Pad: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["fields", "one-field"])
async def test_an_endless_trailer_ends_the_connection_and_not_our_memory(gateway: Bootstrapped, piece: bytes) -> None:
    """Security D5: 32 KiB behind a body are enough; the sender needs no token for it."""
    parts = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(parts[0], int(parts[1]))
    writer.write(_head(gateway, "Transfer-Encoding: chunked\r\n", token=False) + b"0\r\nX-First: ")
    sent = 0
    try:
        async with asyncio.timeout(10):
            while sent < 4_000_000:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
                sent += len(piece)
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert sent < 4_000_000


async def test_a_head_in_one_piece_is_bounded_as_well(gateway: Bootstrapped) -> None:
    """Security D5: 431 beyond 32 KiB, also when it all comes at once."""
    reply = await request(gateway.url, "GET", "/health", headers=[("X-Pad", "a" * 40_000)])
    assert reply.status == 431
    reply = await request(gateway.url, "GET", "/health?" + "a" * 40_000)
    assert reply.status == 431
    assert (await request(gateway.url, "GET", "/health", headers=[("X-Pad", "a" * 20_000)])).status == 200


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 40\r\nContent-Length: 5\r\n",
        "Content-Length: +40\r\n",
        "Content-Length: 0x28\r\n",
        "Content-Length: 40, 40\r\n",
        "Content-Length : 40\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: 40\r\nX: a\rY: b\r\n",
        "Content-Length: 40\r\nX: a\0b\r\n",
    ],
)
async def test_a_body_whose_end_two_readers_could_see_differently_is_refused(
    gateway: Bootstrapped, framing: str
) -> None:
    """RFC 9112 §6.3: no smuggling behind a proxy."""
    reply = read_reply(await send_raw(gateway.url, _head(gateway, framing) + PING))
    assert reply.status == 400


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1@evil.example", "127.0.0.1.evil.example", "0.0.0.0", "127.0.0.1,evil", ""]
)
async def test_another_host_is_not_served(gateway: Bootstrapped, host: str) -> None:
    """Incidents 11, 25, 40: the Host header is checked, never believed."""
    head = _head(gateway, f"Content-Length: {len(PING)}\r\nConnection: close\r\n")
    netloc = gateway.url.removeprefix("http://").encode()
    reply = read_reply(await send_raw(gateway.url, head.replace(b"Host: " + netloc, b"Host: " + host.encode()) + PING))
    assert reply.status == 421


@pytest.mark.parametrize(
    "path",
    [
        "//mcp",
        "/mcp//",
        "/MCP",
        "/mcp;x",
        "/mcp/..",
        "/mcp%00",
        "/.//mcp",
        "*",
        "/v1;/models",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/health/../servers",
        "/admin/../mcp",
        "/.well-known/../servers",
        "/servers/",
    ],
)
async def test_a_path_is_what_it_says_and_nothing_is_resolved(gateway: Bootstrapped, path: str) -> None:
    """Incidents 25 and 36: no second reading of a path behind the routing."""
    bearer = [("Authorization", f"Bearer {gateway.token}")]
    assert (await request(gateway.url, "GET", path, headers=bearer)).status == 404


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp%2f", "/%6dcp", "http://evil.example/mcp", "/v1/../servers"])
async def test_a_spelling_that_reaches_a_surface_reaches_its_door(gateway: Bootstrapped, path: str) -> None:
    """Security RS1: no spelling goes round the door."""
    assert (await request(gateway.url, "GET", path)).status == 401


async def test_a_path_that_does_not_exist_is_a_page_for_people_and_json_for_machines(gateway: Bootstrapped) -> None:
    """Contract, Errors, and security B1: the page has the headers of every page."""
    page = await request(gateway.url, "GET", "/nope", headers=[("Accept", "text/html,*/*;q=0.8")])
    assert page.status == 404
    assert b"There is no such page" in page.body
    assert page.header("x-frame-options") == "DENY"
    assert "frame-ancestors 'none'" in str(page.header("content-security-policy"))
    for path, accept in (("/nope", "*/*"), ("/admin/nope", "text/html"), ("/v1nope", "application/json")):
        reply = await request(gateway.url, "GET", path, headers=[("Accept", accept)])
        assert reply.status == 404
        assert reply.header("content-type") == "application/json"
    error = json.loads((await request(gateway.url, "GET", "/v1")).body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "unknown_url")
