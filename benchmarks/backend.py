"""A backend that costs next to nothing: canned MCP over httptools and uvloop. `python -m benchmarks.backend PORT`.

/json/mcp answers with JSON, /sse/mcp with an event stream, /slow/mcp lets calls wait, /list/mcp lists 500 tools. Not a
model of a real server.
"""

import asyncio
import sys
from typing import Final, cast

import httptools
import msgspec
import uvloop

from benchmarks import wire

_NO_BODY: Final = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_NO_GET: Final = b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n"
SLOW_SECONDS: Final = 1.0
_SERVER: Final = wire.compact(
    {
        "protocolVersion": wire.VERSION,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bench", "version": "1"},
    }
)


class _Arguments(msgspec.Struct):
    text: str = ""


class _Params(msgspec.Struct):
    arguments: _Arguments = msgspec.field(default_factory=_Arguments)


class _Message(msgspec.Struct):
    method: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    params: _Params = msgspec.field(default_factory=_Params)


_decoder = msgspec.json.Decoder(_Message)


def _response(body: bytes, *, as_events: bool, headers: bytes = b"") -> bytes:
    if as_events:
        event = b"event: message\ndata: " + body + b"\n\n"
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\n" + headers + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(event), event)
        )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    return head + headers + b"\r\n" + body


def _result(message: _Message, url: bytes) -> bytes:
    if message.method == "tools/call":
        said = msgspec.json.encode(message.params.arguments.text)
        return b'{"content":[{"type":"text","text":' + said + b'}],"isError":false}'
    if message.method == "initialize":
        return _SERVER
    if message.method == "tools/list":
        return wire.LONG_LIST if url.startswith(b"/list") else wire.ECHO_LIST
    return b"{}"


class Backend(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        url, transport = self._url, self._transport
        assert transport is not None
        if self._parser.get_method() != b"POST":
            transport.write(_NO_GET)
            return
        message = _decoder.decode(body)
        if not bytes(message.id):
            transport.write(_NO_BODY)
            return
        answer = b'{"jsonrpc":"2.0","id":' + bytes(message.id) + b',"result":' + _result(message, url) + b"}"
        issued = b"mcp-session-id: " + wire.SESSION_ID + b"\r\n" if message.method == "initialize" else b""
        response = _response(answer, as_events=url.startswith(b"/sse"), headers=issued)
        if url.startswith(b"/slow") and message.method == "tools/call":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, transport.write, response)
        else:
            transport.write(response)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
