"""The guard resolves once, checks every address, and connections go to what was checked (security.md E1)."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway_proxy.domain.errors import (
    AddressForbidden,
    ConnectFailed,
    FetchFailed,
    ReplyBroken,
    ReplyTimedOut,
    ReplyTooLarge,
)
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.guarded_http import PIN_LIFETIME, GuardedHttp
from gateway_proxy.egress.pinned_http import open_pinned
from gateway_proxy.egress.policy import EgressPolicy
from tests.support.certificates import make_authority
from tests.support.clock import FakeClock
from tests.support.scripted_http import scripted_http

HEADERS = RequestHeaders([("accept", "application/json")])
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\nok"


class FixedResolver:
    """Answers in turn with what the test says, the last answer for ever, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = answers
        self.asked = 0

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


async def test_one_forbidden_address_among_several_refuses_the_name() -> None:
    """security.md E1: check EVERY address."""
    guard = EgressGuard(resolver=FixedResolver(["93.184.216.34", "10.0.0.1"]))
    with pytest.raises(AddressForbidden):
        await guard.resolve("https://rebind.example/")


async def test_the_connection_goes_to_the_pinned_address_with_the_name_in_sni_and_host(tmp_path: Path) -> None:
    """security.md E1: connect to the checked IP with SNI and Host. `pinned.test` resolves nowhere but in our guard."""
    authority = make_authority()
    async with scripted_http(OK, tls=authority.server_context("pinned.test", tmp_path)) as server:
        url = f"https://pinned.test:{server.port}/x?y=1"
        guard = EgressGuard(EgressPolicy.parse(["pinned.test"]), FixedResolver(["127.0.0.1"]))
        http = open_pinned(await guard.resolve(url), extra_roots=[authority.pem])
        reply = await http.send("POST", "/x?y=1", HEADERS, b"{}", timeout=5)
        assert (reply.status, await reply.read(limit=10, timeout=5)) == (200, b"ok")
        await reply.close()
        await http.close()
    assert server.server_names == ["pinned.test"]
    assert f"host: pinned.test:{server.port}".encode() in server.requests[0].lower()
    assert server.requests[0].startswith(b"POST /x?y=1 HTTP/1.1\r\n")


async def test_the_pin_holds_for_a_name_that_the_machine_resolves_elsewhere(tmp_path: Path) -> None:
    """security.md F17: `localhost` is 127.0.0.1 for the machine, the pin says 127.0.0.2, where nothing listens."""
    authority = make_authority()
    async with scripted_http(OK, tls=authority.server_context("localhost", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["localhost"]), FixedResolver(["127.0.0.2"]))
        http = open_pinned(await guard.resolve(f"https://localhost:{server.port}/"), extra_roots=[authority.pem])
        with pytest.raises(ConnectFailed):
            await http.send("GET", "/", HEADERS, b"", timeout=5)
        await http.close()
    assert server.connections == 0


async def test_the_next_address_is_tried_when_one_does_not_connect(tmp_path: Path) -> None:
    """RFC 9110 §7.3: several addresses of one name."""
    authority = make_authority()
    async with scripted_http(OK, tls=authority.server_context("two.test", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["two.test"]), FixedResolver(["127.0.0.2", "127.0.0.1"]))
        http = open_pinned(await guard.resolve(f"https://two.test:{server.port}/"), extra_roots=[authority.pem])
        reply = await http.send("GET", "/", HEADERS, b"", timeout=5)
        assert await reply.read(limit=10, timeout=5) == b"ok"
        await reply.close()
        await http.close()


async def test_a_certificate_nobody_trusts_is_refused(tmp_path: Path) -> None:
    """RFC 9110 §4.3.4: the certificate must match and be trusted."""
    async with scripted_http(OK, tls=make_authority().server_context("pinned.test", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["pinned.test"]), FixedResolver(["127.0.0.1"]))
        http = open_pinned(await guard.resolve(f"https://pinned.test:{server.port}/"))
        with pytest.raises(ConnectFailed):
            await http.send("GET", "/", HEADERS, b"", timeout=5)
        await http.close()
    assert server.requests == []


async def test_a_trusted_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    """RFC 9110 §4.3.4: the pinned address changes nothing about whose certificate it must be."""
    authority = make_authority()
    async with scripted_http(OK, tls=authority.server_context("other.test", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["pinned.test"]), FixedResolver(["127.0.0.1"]))
        http = open_pinned(await guard.resolve(f"https://pinned.test:{server.port}/"), extra_roots=[authority.pem])
        with pytest.raises(ConnectFailed, match="TLS"):
            await http.send("GET", "/", HEADERS, b"", timeout=5)
        await http.close()
    assert server.requests == []


async def test_redirects_cookies_and_proxies_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """contract.md: redirects never leave the allowed origin; security.md E1: trust_env=False."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    authority = make_authority()
    moved = b"HTTP/1.1 302 Found\r\nlocation: https://169.254.169.254/\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    async with scripted_http(moved, OK, tls=authority.server_context("moved.test", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["moved.test"]), FixedResolver(["127.0.0.1"]))
        http = open_pinned(await guard.resolve(f"https://moved.test:{server.port}/"), extra_roots=[authority.pem])
        first = await http.send("GET", "/", HEADERS, b"", timeout=5)
        assert first.status == 302
        await first.close()
        second = await http.send("GET", "/", HEADERS, b"", timeout=5)
        await second.close()
        await http.close()
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("is_cancelled_while_sending", [False, True])
async def test_events_come_as_they_are_sent_and_closing_early_is_seen_by_the_server(
    tmp_path: Path, is_cancelled_while_sending: bool
) -> None:
    """relay.md 3 and 8: a stream is not held back until it is long, and a closed one reaches the backend."""
    authority, left = make_authority(), asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not is_cancelled_while_sending:
            writer.write(head + b"9\r\ndata: 1\n\n\r\n")
            await writer.drain()
        await reader.read()
        left.set()
        writer.transport.abort()

    tls = authority.server_context("s.test", tmp_path)
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    guard = EgressGuard(EgressPolicy.parse(["s.test"]), FixedResolver(["127.0.0.1"]))
    http = open_pinned(await guard.resolve(f"https://s.test:{port}/"), extra_roots=[authority.pem])
    async with asyncio.timeout(5):
        if is_cancelled_while_sending:
            with pytest.raises(ReplyTimedOut):
                await http.send("GET", "/", HEADERS, b"", timeout=0.3)
        else:
            reply = await http.send("GET", "/", HEADERS, b"", timeout=2)
            assert await reply.read_chunk(timeout=2) == b"data: 1\n\n"
            await reply.close()
        await left.wait()
    await http.close()
    server.close()


async def test_a_reply_that_breaks_or_grows_is_cut(tmp_path: Path) -> None:
    """security.md D2: sizes are bounded; a half body is never taken for a whole one."""
    authority = make_authority()
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
    async with scripted_http(OK, half, closing=True, tls=authority.server_context("b.test", tmp_path)) as server:
        guard = EgressGuard(EgressPolicy.parse(["b.test"]), FixedResolver(["127.0.0.1"]))
        http = open_pinned(await guard.resolve(f"https://b.test:{server.port}/"), extra_roots=[authority.pem])
        reply = await http.send("GET", "/", HEADERS, b"", timeout=5)
        with pytest.raises(ReplyTooLarge):
            await reply.read(limit=1, timeout=5)
        await reply.close()
        reply = await http.send("GET", "/", HEADERS, b"", timeout=5)
        with pytest.raises(ReplyBroken):
            await reply.read(limit=1000, timeout=5)
        await reply.close()
        await http.close()


async def test_a_document_is_fetched_only_as_a_small_200_over_https(tmp_path: Path) -> None:
    """security.md AS10: https only, no redirects, 64 KiB."""
    authority = make_authority()
    big = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70000
    missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    zipped = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"
    async with scripted_http(OK, big, missing, zipped, tls=authority.server_context("doc.test", tmp_path)) as server:
        guard = EgressGuard(
            EgressPolicy.parse(["doc.test"]),
            FixedResolver(["127.0.0.1"]),
            partial(open_pinned, extra_roots=[authority.pem]),
        )
        url = f"https://doc.test:{server.port}/client.json"
        document = await guard.fetch_document(url)
        assert (document.body, document.headers["content-type"]) == (b"ok", "application/json")
        for fault in ("too large", "status 404", "content encoding"):
            with pytest.raises(FetchFailed) as caught:
                await guard.fetch_document(url)
            assert caught.value.fault == fault
        with pytest.raises(FetchFailed, match="not https"):
            await guard.fetch_document("http://doc.test/")


async def test_a_name_that_moves_inside_later_is_refused_then() -> None:
    """security.md F17, DNS rebinding: public first, loopback at the next look-up."""
    resolver, clock = FixedResolver(["127.0.0.1"], ["10.0.0.1"]), FakeClock()
    async with scripted_http(OK) as server:
        url = f"http://moves.test:{server.port}/"
        guard = EgressGuard(EgressPolicy.parse(["127.0.0.0/8"]), resolver)
        http = GuardedHttp(guard, url, allowed_origin=None, clock=clock)
        for _ in range(3):
            reply = await http.send("GET", "/", HEADERS, b"", timeout=5)
            await reply.close()
        assert resolver.asked == 1
        clock.advance(PIN_LIFETIME + 1)
        with pytest.raises(AddressForbidden):
            await http.send("GET", "/", HEADERS, b"", timeout=5)
        await http.close()


async def test_a_name_that_moves_is_followed_while_old_replies_are_read_to_their_end(tmp_path: Path) -> None:
    """A pin is renewed every minute; a reply under way keeps the connection it has."""
    authority = make_authority()
    with socket.socket() as probe:  # 127.0.0.3 must exist on this machine for the move
        probe.bind(("127.0.0.3", 0))
    async with scripted_http(
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc", tls=authority.server_context("m.test", tmp_path)
    ) as server:
        clock = FakeClock()
        guard = EgressGuard(
            EgressPolicy.parse(["m.test"]),
            FixedResolver(["127.0.0.1"], ["127.0.0.3"]),
            partial(open_pinned, extra_roots=[authority.pem]),
        )
        http = GuardedHttp(guard, f"https://m.test:{server.port}/", allowed_origin=None, clock=clock)
        reply = await http.send("GET", "/", HEADERS, b"", timeout=5)
        clock.advance(PIN_LIFETIME + 1)
        with pytest.raises(ConnectFailed):
            await http.send("GET", "/", HEADERS, b"", timeout=5)
        assert await reply.read_chunk(timeout=5) == b"abc"
        await reply.close()
        await http.close()


@pytest.mark.parametrize(
    "pair",
    [("a b", "x"), ("x", "a\r\nb: c"), ("x", "a\x00"), ("host", "x"), ("Content-Length", "1"), ("", "x"), ("x", " a")],
)
def test_a_header_that_could_break_out_of_its_line_is_refused(pair: tuple[str, str]) -> None:
    """RFC 9110 §5.5: field values have no CR, LF or NUL; framing belongs to the sender."""
    with pytest.raises(ValueError, match="may not be sent"):
        RequestHeaders([pair])
