"""Answers whose head brings the body, on a real server and real sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import ANY

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from gateway_proxy.cli.http_protocol import BoundedHttpProtocol
from gateway_proxy.cli.one_write import JOINED_BYTES
from gateway_proxy.domain.whole_answer import BODY, EXTENSION

BODIES = {"/small": b"whole", "/empty": b"", "/large": b"x" * (JOINED_BYTES + 1)}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers whole; /split puts a line break into a header, /late answers in two messages, /early before it reads."""
    assert EXTENSION in scope["extensions"]
    path = scope["path"]
    body = BODIES.get(path, b"other")
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    if path == "/split":
        headers.append((b"x-given", b"a\r\nx-injected: b"))
    message: Message = {"type": "http.response.start", "status": 200, "headers": headers}
    if path == "/late":
        await send(message)
        await send({"type": "http.response.body", "body": body})
    else:
        await send({**message, BODY: body})
    if path == "/early":
        assert (await receive())["type"] == "http.disconnect"


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket to a server of its own."""
    server = uvicorn.Server(
        uvicorn.Config(application, port=0, http=BoundedHttpProtocol, log_config=None, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


def request(path: str, *, method: str = "GET", more: bytes = b"") -> bytes:
    """A request head."""
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + more + b"\r\n"


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> tuple[bytes, bytes]:
    """Head and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head, await reader.readexactly(size) if has_body else b""


async def test_answers_of_every_size_follow_each_other_on_one_connection() -> None:
    """RFC 9112: complete heads, complete bodies, and the connection stays."""
    async with connection() as (reader, writer):
        for path in ("/small", "/empty", "/large", "/late", "/small"):
            writer.write(request(path))
            head, body = await read_answer(reader)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\ndate: " in head
            assert body == BODIES.get(path, b"other")


async def test_pipelined_requests_are_answered_in_order() -> None:
    """RFC 9112 §9.3.2: the next is begun when the one before is answered."""
    async with connection() as (reader, writer):
        writer.write(request("/small") + request("/late") + request("/large"))
        bodies = [(await read_answer(reader))[1] for _ in range(3)]
    assert bodies == [b"whole", b"other", BODIES["/large"]]


async def test_what_is_special_is_left_to_the_server() -> None:
    """A HEAD has no body, and a client that wants the connection closed is told that it is."""
    async with connection() as (reader, writer):
        writer.write(request("/small", method="HEAD"))
        head, _ = await read_answer(reader, has_body=False)
        assert b"content-length: 5" in head
        writer.write(request("/small", more=b"Connection: close\r\n"))
        head, body = await read_answer(reader)
        assert b"connection: close" in head
        assert body == b"whole"
        assert await reader.read() == b""


async def test_nobody_is_told_to_go_on_behind_the_answer() -> None:
    """RFC 9110 §10.1.1: 100 Continue comes before the final answer or not at all."""
    async with connection() as (reader, writer):
        writer.write(request("/early", method="POST", more=b"Content-Length: 4\r\nExpect: 100-continue\r\n"))
        assert (await read_answer(reader))[1] == b"other"
        writer.write(b"late" + request("/small"))
        assert await read_answer(reader) == (ANY, b"whole")


async def test_a_header_that_breaks_out_of_its_line_is_not_sent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 §5.5: response splitting."""
    caplog.set_level(logging.ERROR, logger="uvicorn.error")  # other servers of the suite are told to be quiet
    for name in ("uvicorn", "uvicorn.error"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    async with connection() as (reader, writer):
        writer.write(request("/split"))
        head, body = await read_answer(reader)
    assert head.startswith(b"HTTP/1.1 500")
    assert b"x-injected" not in head + body
    assert "breaks out of its line" in caplog.text
