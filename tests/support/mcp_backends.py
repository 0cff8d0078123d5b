"""Real MCP servers over streamable HTTP for tests, hand-rolled so that each can misbehave in its own way.

`McpBackend` keeps to 2025-11-25 (or 2026-07-28 with `modern=True`) unless a test tells it otherwise. `FakeRunner` has
the runner's HTTP surface with such servers as its children.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.support.loopback import serving

Message = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@asynccontextmanager
async def serve(
    app: App, *, unix: str | None = None, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve an app until the block ends; yields its base URL (or the socket's path)."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    config.ssl = tls
    listener = socket.socket(
        socket.AF_UNIX if unix else socket.AF_INET,
        socket.SOCK_STREAM,
        0 if unix else socket.IPPROTO_TCP,  # asyncio turns Nagle's delay off only where it reads TCP
    )
    listener.bind(unix or ("127.0.0.1", port))
    listener.listen(512)
    where = unix or f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(config, listener, patience=0.1):
        yield where


def tool(name: str, **more: Any) -> Message:
    """A tool definition."""
    return {"name": name, "description": f"The {name} tool", "inputSchema": {"type": "object"}, **more}


def text(value: str) -> Message:
    """A tool result of one text."""
    return {"content": [{"type": "text", "text": value}], "isError": False}


class Http:
    """One request as a handler sees it: the message, its headers, and ways to answer."""

    def __init__(self, message: Message, headers: dict[str, str], send: Send, receive: Receive) -> None:
        self.message = message
        self.headers = headers
        self.session_id = headers.get("mcp-session-id")
        self._send = send
        self._receive = receive
        self._is_streaming = False

    @property
    def params(self) -> Message:
        """The params of the message."""
        found: Message = self.message.get("params") or {}
        return found

    @property
    def token(self) -> Any:
        """The progress token of the request."""
        return self.params.get("_meta", {}).get("progressToken")

    async def raw(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with these very bytes."""
        named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        pairs = [(name.encode(), value.encode()) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, message: Message | bytes, *, event_id: str = "") -> None:
        """Send a message as an event; the first one starts the stream."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.stream(
            (f"id: {event_id}\n".encode() if event_id else b"") + b"event: message\ndata: " + data + b"\n\n"
        )

    async def stream(self, piece: bytes) -> None:
        """Send a raw piece of an event stream."""
        if not self._is_streaming:
            self._is_streaming = True
            pairs = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await self._send({"type": "http.response.start", "status": 200, "headers": pairs})
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def result(self, result: Any, *, as_events: bool = False) -> None:
        """Answer the request."""
        message = {"jsonrpc": "2.0", "id": self.message["id"], "result": result}
        if self._is_streaming or as_events:
            await self.event(message)
            await self.end()
        else:
            await self.raw(200, json.dumps(message).encode())

    async def error(self, code: int, words: str, *, status: int = 200) -> None:
        """Answer with a JSON-RPC error."""
        message = {"jsonrpc": "2.0", "id": self.message.get("id"), "error": {"code": code, "message": words}}
        if self._is_streaming:
            await self.event(message)
            await self.end()
        else:
            await self.raw(status, json.dumps(message).encode())

    async def end(self) -> None:
        """End the stream."""
        await self._send({"type": "http.response.body", "body": b""})

    async def progress(self, value: float, **more: Any) -> None:
        """Report progress, if the caller wants it."""
        if self.token is not None:
            params = {"progressToken": self.token, "progress": value, **more}
            await self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    async def until_gone(self) -> None:
        """Wait until the client closes the request."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


Handler = Callable[[Http], Awaitable[None]]


@dataclass
class McpBackend:
    """An MCP server as an ASGI app. `handlers` override by method, `tools` are handlers by tool name."""

    tools: dict[str, Handler] = field(default_factory=dict)
    definitions: list[Message] | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)
    as_events: bool = False
    has_sessions: bool = True
    modern: bool = False
    page_size: int = 1000
    version: str = "2025-11-25"
    capabilities: Message = field(default_factory=lambda: {"tools": {"listChanged": True}})
    seen: list[tuple[Message, dict[str, str]]] = field(default_factory=list)
    sessions: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    answers: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["method"] == "DELETE":
            self.ended.append(headers.get("mcp-session-id", ""))
            self.sessions.pop(headers.get("mcp-session-id", ""), None)
            await Http({}, headers, send, receive).raw(200, b"")
            return
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                part = await receive()
                body += part.get("body", b"")
                more = part.get("more_body", False)
        message = json.loads(body) if body else {"method": "GET"}
        self.seen.append((message, headers))
        await self._answer(Http(message, headers, send, receive))

    def calls(self, method: str) -> list[tuple[Message, dict[str, str]]]:
        """The messages seen of one method, with their headers."""
        return [(message, headers) for message, headers in self.seen if message.get("method") == method]

    async def _answer(self, http: Http) -> None:
        method = http.message.get("method")
        handler = self.handlers.get(method or "")
        if handler is not None:
            await handler(http)
        elif method is None:
            await self.answers.put(http.message)
            await http.raw(202, b"")
        elif "id" not in http.message:
            await http.raw(202, b"")
        elif method == "initialize":
            await self._initialize(http)
        elif method == "server/discover" and self.modern:
            await http.result(
                {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            )
        elif self.has_sessions and not self.modern and http.session_id not in self.sessions:
            await http.error(-32001, "Session not found", status=404)
        elif method == "tools/list":
            await self._list(http)
        elif method == "tools/call":
            await self._call(http)
        else:
            await http.error(-32601, "Method not found")

    async def _initialize(self, http: Http) -> None:
        if self.modern:
            await http.error(-32022, "Unsupported protocol version", status=400)
            return
        result = {
            "protocolVersion": self.version,
            "capabilities": self.capabilities,
            "serverInfo": {"name": "test", "version": "1"},
        }
        message = json.dumps({"jsonrpc": "2.0", "id": http.message["id"], "result": result}).encode()
        headers = {}
        if self.has_sessions:
            session_id = f"session-{len(self.sessions) + len(self.ended) + 1}"
            self.sessions[session_id] = 0
            headers["mcp-session-id"] = session_id
        await http.raw(200, message, headers)

    async def _list(self, http: Http) -> None:
        listed = self.definitions if self.definitions is not None else [tool(name) for name in self.tools]
        start = int(http.params.get("cursor", 0))
        page = listed[start : start + self.page_size]
        result: Message = {"tools": page}
        if start + self.page_size < len(listed):
            result["nextCursor"] = str(start + self.page_size)
        await http.result(result, as_events=self.as_events)

    async def _call(self, http: Http) -> None:
        handler = self.tools.get(http.params.get("name", ""))
        if handler is None:
            await http.error(-32602, "Unknown tool")
            return
        await handler(http)


async def echo(http: Http) -> None:
    """Answers with the params it was called with."""
    await http.result({**text(json.dumps(http.params.get("arguments"))), "structuredContent": http.params})


async def echo_events(http: Http) -> None:
    """The same as an event stream."""
    await http.result(
        {**text(json.dumps(http.params.get("arguments"))), "structuredContent": http.params}, as_events=True
    )


def counter(backend: McpBackend) -> Handler:
    """A tool that counts its calls per session."""

    async def count(http: Http) -> None:
        backend.sessions[http.session_id or ""] = backend.sessions.get(http.session_id or "", 0) + 1
        await http.result(text(str(backend.sessions[http.session_id or ""])))

    return count


def demo_backend(**more: Any) -> McpBackend:
    """A backend with echo, echo_events and count."""
    backend = McpBackend(**more)
    backend.tools.update(echo=echo, echo_events=echo_events, count=counter(backend))
    return backend


@dataclass
class FakeRunner:
    """The runner's HTTP surface over `McpBackend` children made by `make`, one session per child instance."""

    make: Callable[[], McpBackend]
    key: str = "runner-key"
    children: dict[str, McpBackend] = field(default_factory=dict)
    specs: list[Message] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    forgotten: list[Message] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    posts: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        http = Http({}, headers, send, receive)
        parts = scope["path"].split("/")
        if headers.get("authorization") != f"Bearer {self.key}":
            await http.raw(401, b'{"error":"unauthorized"}')
        elif scope["method"] == "PUT":
            await self._ensure(parts[2], http, receive)
        elif scope["path"] == "/caches":
            self.forgotten.append(json.loads((await receive())["body"]))
            await http.raw(200, b'{"forgotten":true}')
        elif scope["method"] == "DELETE":
            self.children.pop(parts[2], None)
            self.stopped.append(parts[2])
            await http.raw(200, b'{"ended":true}')
        elif (child := self.children.get(parts[2])) is not None:
            self.posts += 1
            await child(scope, receive, send)
        else:
            await http.raw(404, b'{"error":"session_gone","detail":"x"}')

    async def _ensure(self, key: str, http: Http, receive: Receive) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        self.specs.append(json.loads(body))
        if self.refusal is not None:
            status, code = self.refusal
            await http.raw(status, json.dumps({"error": code, "detail": "x"}).encode(), {"retry-after": "7"})
            return
        self.children.setdefault(key, self.make())
        await http.raw(200, json.dumps({"path": f"/children/{key}/mcp", "instance": "i"}).encode())
