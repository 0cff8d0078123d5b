"""HTTP/1.1 over TLS with both certificates: the way to a runner on another host (relay.md 4)."""

import ssl
from pathlib import Path

import pytest

from gateway_proxy.domain.errors import ConnectFailed
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.http1_pool import open_tls_http
from tests.support.certificates import make_authority
from tests.support.scripted_http import scripted_http

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEADERS = RequestHeaders([("authorization", "Bearer key")])


async def test_the_runner_is_reached_only_with_the_right_certificates(tmp_path: Path) -> None:
    """relay.md 4: TCP with mutual TLS; a stranger's certificate, or none, gets no reply."""
    authority, stranger = make_authority(), make_authority()
    server_side = authority.server_context("localhost", tmp_path)
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_verify_locations(cadata=authority.pem.decode())
    client_side = ssl.create_default_context(cadata=authority.pem.decode())
    client_side.load_cert_chain(tmp_path / "localhost.pem")
    wrong_server = ssl.create_default_context(cadata=stranger.pem.decode())
    async with scripted_http(OK, tls=server_side) as server:
        pool = open_tls_http("localhost", server.port, tls=client_side)
        for _ in range(2):
            reply = await pool.send("PUT", "/children/x", HEADERS, b"{}", timeout=5)
            assert await reply.read(limit=10, timeout=5) == b"ok"
        assert server.connections == 1
        await pool.close()
        refused = open_tls_http("localhost", server.port, tls=wrong_server)
        with pytest.raises(ConnectFailed, match="TLS"):
            await refused.send("PUT", "/", HEADERS, b"", timeout=5)
        await refused.close()
        assert len(server.requests) == 2
