"""The small HTTP/1.1 client: replies never mix, sizes and times are bounded, nothing that is not HTTP gets through."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_proxy.domain.alarms import Alarms
from gateway_proxy.domain.errors import ConnectFailed, EgressError, ReplyBroken, ReplyTimedOut, ReplyTooLarge
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.http1 import Http1Connection
from gateway_proxy.egress.http1_pool import Http1Pool, open_address_http, open_unix_http
from gateway_proxy.egress.http1_reply import Http1Reply
from tests.support.scripted_http import scripted_http

HEADERS = RequestHeaders([("accept", "application/json"), ("authorization", "Bearer x")])
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"


def pool_to(port: int) -> Http1Pool:
    """A pool to a scripted server."""
    return open_address_http(["127.0.0.1"], port, authority="name.test", host="name.test")


async def fetch(pool: Http1Pool, *, limit: int = 1000) -> bytes:
    """One request, its whole body."""
    reply = await pool.send("POST", "/p?q", HEADERS, b"{}", timeout=2)
    try:
        return await reply.read(limit=limit, timeout=2)
    finally:
        await reply.close()


async def test_a_connection_is_kept_and_used_again(tmp_path: Path) -> None:
    """RFC 9112 §9.3: persistent connections; over a unix socket as over TCP."""
    path = str(tmp_path / "s")
    async with scripted_http(OK, CHUNKED, OK, unix=path) as server:
        pool = open_unix_http(path)
        assert [await fetch(pool) for _ in range(3)] == [b"ok", b"abcdefg", b"ok"]
        assert (server.connections, pool.open_connections) == (1, 1)
        await pool.close()
    assert server.requests[0] == (
        b"POST /p?q HTTP/1.1\r\nhost: runner\r\ncontent-length: 2\r\n"
        b"accept: application/json\r\nauthorization: Bearer x\r\n\r\n{}"
    )


async def test_a_reply_keeps_its_connection_until_it_is_read() -> None:
    """performance.md: a pool that takes a connection back before its stream is consumed mixes replies."""
    async with scripted_http(OK) as server:
        pool = pool_to(server.port)
        first = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        second = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        assert server.connections == 2
        assert await first.read(limit=10, timeout=2) == b"ok"
        third = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        assert server.connections == 2
        assert [await reply.read(limit=10, timeout=2) for reply in (second, third)] == [b"ok", b"ok"]
        await pool.close()


async def test_closing_an_unread_reply_ends_its_connection() -> None:
    """A half-read body may not become the start of the next reply."""
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
    async with scripted_http(half, OK) as server:
        pool = pool_to(server.port)
        reply = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        assert await reply.read_chunk(timeout=2) == b"half"
        await reply.close()
        assert await fetch(pool) == b"ok"
        assert server.connections == 2
        await pool.close()


async def test_cancelling_a_request_ends_its_connection() -> None:
    """plan: cancellation closes the connection, so that the other side sees it."""
    silent = b""
    async with scripted_http(silent, OK) as server:
        pool = pool_to(server.port)
        task = asyncio.create_task(pool.send("GET", "/", HEADERS, b"", timeout=5))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await fetch(pool) == b"ok"
        assert server.connections == 2
        await pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK + OK,  # a second reply that nobody asked for
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"garbage",
    ],
)
async def test_a_connection_with_anything_odd_about_it_is_not_used_again(answer: bytes) -> None:
    """RFC 9112 §9.3, and response smuggling: what follows a reply is never the next reply."""
    async with scripted_http(answer, OK) as server:
        pool = pool_to(server.port)
        with contextlib.suppress(ReplyBroken):
            assert await fetch(pool) == b"ok"
        await asyncio.sleep(0)
        assert await fetch(pool) == b"ok"
        assert server.connections == 2
        await pool.close()


async def test_a_body_without_length_ends_with_the_connection() -> None:
    """RFC 9112 §6.3 (8)."""
    async with scripted_http(b"HTTP/1.1 200 OK\r\n\r\nall of it", closing=True) as server:
        pool = pool_to(server.port)
        assert await fetch(pool) == b"all of it"
        await pool.close()


async def test_informational_replies_are_skipped() -> None:
    """RFC 9110 §15.2: a client ignores 1xx it does not expect."""
    async with scripted_http(b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" + OK) as server:
        pool = pool_to(server.port)
        reply = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        assert (reply.status, reply.header("link"), reply.header("content-length")) == (200, None, "2")
        await reply.close()
        await pool.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", ReplyBroken),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", ReplyBroken),
        (b"SSH-2.0-OpenSSH\r\n", ReplyBroken),
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", ReplyBroken),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", ReplyBroken),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", ReplyBroken),
        (b"", ReplyBroken),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 400_000, ReplyTooLarge),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n", EgressError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"a" * 400_000, ReplyTooLarge),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5000\r\n\r\n" + b"a" * 5000, ReplyTooLarge),
    ],
)
async def test_a_broken_reply_is_an_error_and_never_a_body(answer: bytes, error: type[EgressError]) -> None:
    """security.md F7: crash, garbage, too much, closes half-way."""
    async with scripted_http(answer, OK, closing=True) as server:
        pool = pool_to(server.port)
        with pytest.raises(error):
            await fetch(pool)
        assert await fetch(pool) == b"ok"
        await pool.close()


class Still:
    """A connection of which a reply wants nothing."""

    def pause(self, wanted: bool) -> None:
        """Nothing to pause."""

    def finish(self, reply: Http1Reply) -> None:
        """Nothing to take back."""

    def abort(self) -> None:
        """Nothing to end."""


async def test_a_time_out_counts_from_the_last_piece() -> None:
    """Every wait has its own time, so a stream may last longer than its time-out."""
    loop = asyncio.get_running_loop()
    reply = Http1Reply(Still(), "name.test", loop, Alarms())
    started = loop.time()
    for _ in range(15):
        loop.call_later(0.05, reply.append, b"x")
        assert await reply.read_chunk(timeout=0.5) == b"x"
    assert loop.time() - started > 0.5
    with pytest.raises(ReplyTimedOut) as caught:
        await reply.read_chunk(timeout=0.1)
    assert caught.value.seconds == 0.1
    await reply.close()


async def test_a_whole_body_has_one_time_however_it_dribbles_in() -> None:
    """security.md F7: one byte per second; a call ends within its own time, and not after a day."""
    loop = asyncio.get_running_loop()
    reply = Http1Reply(Still(), "name.test", loop, Alarms())

    async def dribble() -> None:
        while True:
            reply.append(b"x")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(5):
        with pytest.raises(ReplyTimedOut) as caught:
            await reply.read(limit=10_000, timeout=0.2)
    assert caught.value.seconds == 0.2
    dribbling.cancel()
    await reply.close()


async def test_pieces_that_came_together_are_read_together() -> None:
    """performance.md: one read of the provider is one write to the client."""
    reply = Http1Reply(Still(), "name.test", asyncio.get_running_loop(), Alarms())
    for piece in (b"a", b"b", b"c"):
        reply.append(piece)
    reply.complete()
    assert await reply.read_chunk(timeout=1) == b"abc"
    assert await reply.read_chunk(timeout=1) is None


async def test_silence_ends_in_a_time_out() -> None:
    """security.md D4: every wait has a limit."""
    async with scripted_http(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf") as server:
        pool = pool_to(server.port)
        with pytest.raises(ReplyTimedOut):
            await pool.send("GET", "/", HEADERS, b"", timeout=0.05)
        reply = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        with pytest.raises(ReplyTimedOut):
            await reply.read(limit=100, timeout=0.05)
        await reply.close()
        assert pool.open_connections <= 1
        await pool.close()


async def test_nobody_listening_is_told_apart_from_a_broken_reply(tmp_path: Path) -> None:
    """Nothing was sent, so the caller may try again elsewhere."""
    with pytest.raises(ConnectFailed, match="nothing listens"):
        await open_unix_http(str(tmp_path / "none")).send("GET", "/", HEADERS, b"", timeout=1)


async def test_a_full_pool_hands_connections_on_in_turn() -> None:
    """security.md D4: a bounded pool, a bounded wait."""
    async with scripted_http(OK) as server:
        loop = asyncio.get_running_loop()

        async def connect(make: Callable[[], Http1Connection]) -> None:
            await loop.create_connection(make, "127.0.0.1", server.port)

        pool = Http1Pool(connect, host="h", authority="h", max_connections=2)
        bodies = await asyncio.gather(*(fetch(pool) for _ in range(20)))
        assert bodies == [b"ok"] * 20
        assert server.connections == 2
        await pool.close()


async def test_idle_connections_are_let_go() -> None:
    """Descriptors return to base when nobody calls any more."""
    async with scripted_http(OK) as server:
        pool = open_address_http(["127.0.0.1"], server.port, authority="h", host="h")
        pool._idle_timeout = 0.01
        await asyncio.gather(*(fetch(pool) for _ in range(5)))
        async with asyncio.timeout(2):
            while pool.open_connections:
                await asyncio.sleep(0.005)
        await pool.close()


async def test_a_slow_reader_holds_back_a_fast_server() -> None:
    """security.md F7: memory stays bounded with an endless stream."""
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 80000000\r\n\r\n" + b"x" * 80_000_000
    async with scripted_http(endless) as server:
        pool = pool_to(server.port)
        reply = await pool.send("GET", "/", HEADERS, b"", timeout=2)
        for _ in range(200):
            await asyncio.sleep(0.0005)
        assert reply._buffered < 2_000_000
        for _ in range(20):
            assert await reply.read_chunk(timeout=2)
        await reply.close()
        await pool.close()


class SinkTransport(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: object) -> None:
        """Dropped."""

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self) -> None:
        """Nothing to resume."""


PIECES = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 101 X\r\nupgrade: a\r\nconnection: upgrade\r\n", b"HTTP/1.1 304 Not Modified\r\n",
            b"HTTP/1.0 200\r\n", b"content-length: 2\r\n", b"content-length: 99999999999\r\n",
            b"transfer-encoding: chunked\r\n",
            b"connection: close\r\n", b"\r\n", b"ok", b"2\r\nok\r\n", b"0\r\n\r\n", b"\x00",
            b"ffffffffffffffff1\r\n", b"\n", b"x: y\r\n", b" folded\r\n", b"2;ext=1\r\nok\r\n",
            b"0\r\ntrailer: x\r\n\r\n",
        ]
    )
    | st.binary(max_size=40),
    max_size=14,
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, cuts=st.lists(st.integers(0, 400), max_size=6), is_eof=st.booleans())
def test_no_bytes_whatever_break_the_parser_or_yield_more_than_was_sent(
    pieces: list[bytes], cuts: list[int], is_eof: bool
) -> None:
    """security.md §1 habit 6: fuzz parsers. Any input ends in one complete reply, an error, or waiting for more."""
    asyncio.run(_feed(b"".join(pieces), sorted(cuts), is_eof))


async def _feed(data: bytes, cuts: list[int], is_eof: bool) -> None:
    freed: list[Http1Connection] = []
    connection = Http1Connection("h", "h", freed.append, lambda _: None, Alarms())
    transport = SinkTransport()
    connection.connection_made(transport)
    reply = connection.start("GET", "/", HEADERS, b"")
    bounds = [0, *(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(bounds):
        if start < end and not transport.closed:
            connection.data_received(data[start:end])
    if is_eof:
        connection.eof_received()
    connection.connection_lost(None)
    await _check(reply, connection, data, freed)


async def _check(reply: Http1Reply, connection: Http1Connection, data: bytes, freed: list[Http1Connection]) -> None:
    try:
        await reply.wait_head(0.5)
        body = await reply.read(limit=10_000, timeout=0.5)
    except (ReplyBroken, ReplyTooLarge):
        return
    assert reply.status >= 200
    assert len(body) <= len(data)
    assert not connection.is_alive
    assert freed == []
