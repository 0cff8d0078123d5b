"""Bounds on request heads, on a real server and real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway_proxy.cli.http_protocol import HEAD_BYTES, BoundedHttpProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Impatient(BoundedHttpProtocol):
    """The same with a clock that a test can wait for."""

    head_seconds = leaving_seconds = 0.2


class Forgetful(BoundedHttpProtocol):
    """The same with a keep-alive time that a test can wait for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive: float = 0.4  # type: ignore[assignment] # whole seconds in its settings


async def answer(request: Request) -> Response:
    body = await request.body()
    return PlainTextResponse(f"{len(body)} bytes")


@asynccontextmanager
async def running_server(protocol: type[BoundedHttpProtocol]) -> AsyncIterator[uvicorn.Server]:
    """A server that reads with `protocol`."""
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await serving


async def connect(server: uvicorn.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket to it."""
    return await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])


@asynccontextmanager
async def connection(
    protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket to a server of its own that reads with `protocol`."""
    async with running_server(protocol) as server:
        reader, writer = await connect(server)
        try:
            yield reader, writer
        finally:
            writer.close()


async def test_ordinary_requests_follow_each_other_on_one_connection() -> None:
    """RFC 9112 §9.3: persistent connections; a large body is no head."""
    async with connection() as (reader, writer):
        for _ in range(3):
            body = b"x" * (3 * HEAD_BYTES)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await reader.readuntil(b"bytes")).startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_is_kept_for_its_time_and_a_busy_one_for_as_long_as_it_likes() -> None:
    """RFC 9112 §9.5: the time counts from the last answer, whatever other connections do."""
    async with running_server(Forgetful) as server:
        reader, writer = await connect(server)
        idle, idle_writer = await connect(server)
        idle_writer.write(HEAD + b"\r\n")
        await idle.readuntil(b"bytes")
        for _ in range(5):
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"bytes")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.15)
        async with asyncio.timeout(0.1):
            assert await idle.read() == b""
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        idle_writer.close()


async def test_a_head_may_come_in_pieces() -> None:
    """Security D4: slow is allowed, endless is not."""
    async with connection() as (reader, writer):
        for piece in (b"GET / HT", b"TP/1.1\r\nHo", b"st: x\r\n", b"\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        assert (await reader.readuntil(b"bytes")).startswith(b"HTTP/1.1 200")


async def test_a_head_over_32_kib_is_431_and_the_end_of_the_connection() -> None:
    """Security D5: limits of heads hold without a proxy in front."""
    async with connection() as (reader, writer):
        writer.write(HEAD)
        writer.write(b"X-Pad: " + b"a" * HEAD_BYTES)

        answered = await asyncio.wait_for(reader.read(), 5)

        assert answered.startswith(b"HTTP/1.1 431 ")
        assert answered.endswith(b'{"error":"the request head is over 32 KiB"}')


async def test_a_head_that_never_ends_is_hung_up_on() -> None:
    """Security D4: the head has ten seconds."""
    async with connection(Impatient) as (reader, writer):
        writer.write(HEAD)

        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_connection_that_says_nothing_is_hung_up_on() -> None:
    """Security D4: the same for the first head."""
    async with connection(Impatient) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_second_head_has_the_same_time() -> None:
    """Security D4: also on a connection that has served before."""
    async with connection(Impatient) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"bytes")).startswith(b"HTTP/1.1 200")
        writer.write(HEAD)

        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_second_head_in_the_same_piece_is_bounded_too() -> None:
    """Security D5: a small request in front does not open the way for a large head behind it."""
    async with connection() as (reader, writer):
        writer.write(HEAD + b"\r\n" + HEAD + b"X-Pad: " + b"a" * HEAD_BYTES + b"\r\n\r\n")

        answered = await asyncio.wait_for(reader.read(), 5)

        assert b"HTTP/1.1 431 " in answered


async def test_a_small_head_behind_a_large_body_is_served() -> None:
    """Security D5: what counts is the head, not what came before it."""
    async with connection() as (reader, writer):
        body = b"x" * (2 * HEAD_BYTES)
        large = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        writer.write(large + HEAD + b"\r\n")

        assert (await reader.readuntil(b"bytes")).startswith(b"HTTP/1.1 200")
        assert (await reader.readuntil(b"0 bytes")).startswith(b"HTTP/1.1 200")


async def test_who_is_just_sending_when_the_server_stops_is_still_served() -> None:
    """Security O3, F11: a connection that is new, or was kept, is not hung up on without a word."""
    async with running_server(BoundedHttpProtocol) as server:
        new, kept = await connect(server), await connect(server)
        kept[1].write(HEAD + b"\r\n")
        await kept[0].readuntil(b"bytes")
        while len(server.server_state.connections) < 2:
            await asyncio.sleep(0.01)
        server.should_exit = True
        while server.servers[0].is_serving():
            await asyncio.sleep(0.01)
        for reader, writer in (new, kept):
            writer.write(HEAD + b"\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer
            writer.close()


async def test_who_says_nothing_when_the_server_stops_is_hung_up_on() -> None:
    """Security O3: a stop takes no longer for idle connections."""
    async with running_server(Impatient) as server:
        reader, writer = await connect(server)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"bytes")
        server.should_exit = True
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_an_upgrade_is_passed_over_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """RFC 9110 §7.8, security incident 14: the request is answered as HTTP; nobody is told to install WebSockets."""
    async with connection() as (reader, writer):
        for protocol in (b"websocket", b"h2c"):
            writer.write(HEAD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
            assert (await reader.readuntil(b"0 bytes")).startswith(b"HTTP/1.1 200")
    assert "pgrade" not in caplog.text
    assert "WebSocket" not in caplog.text
