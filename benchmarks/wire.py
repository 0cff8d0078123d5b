"""MCP and HTTP as bytes: what the load generator sends and what the backend answers. No sockets here."""

import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

VERSION: Final = "2025-11-25"
ACCEPT: Final = "application/json, text/event-stream"
LIST_SIZE: Final = 500
SESSION_ID: Final = b"backend-session"

_SCHEMA: Final = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "What to say"}, "times": {"type": "integer"}},
    "required": ["text"],
}


def tool_definition(name: str) -> dict[str, object]:
    """A tool as a backend lists it, of a usual size."""
    words = f"The tool {name}: repeats what it is told, as often as it is told to, and is otherwise quiet."
    return {"name": name, "description": words, "inputSchema": _SCHEMA}


def compact(message: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(message, separators=(",", ":")).encode()


ECHO_LIST: Final = compact({"tools": [tool_definition("echo")]})
LONG_LIST: Final = compact({"tools": [tool_definition(f"tool_{number:03}") for number in range(LIST_SIZE)]})
INITIALIZED: Final = compact({"jsonrpc": "2.0", "method": "notifications/initialized"})


def initialize(capabilities: dict[str, object] | None = None) -> bytes:
    """The first message of a session."""
    params = {
        "protocolVersion": VERSION,
        "capabilities": capabilities or {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    return compact({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})


def call(tool: str, text: str) -> bytes:
    """tools/call of an echo."""
    return call_with(7, tool, {"text": text})


def call_with(number: int, tool: str, arguments: Mapping[str, object], *, progress: bool = False) -> bytes:
    """tools/call under an id of one's own; with `progress` the client wants to hear how it goes."""
    params: dict[str, object] = {"name": tool, "arguments": arguments}
    if progress:
        params["_meta"] = {"progressToken": number}
    return compact({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


def list_tools() -> bytes:
    """tools/list."""
    return compact({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}})


def post(host: str, path: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A POST of a JSON-RPC message, head and body."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        f"accept: {ACCEPT}",
        f"mcp-protocol-version: {VERSION}",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(host: str, path: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A GET that asks for a stream of events."""
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", "accept: text/event-stream", f"mcp-protocol-version: {VERSION}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers)]).encode() + b"\r\n\r\n"


def delete(host: str, path: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A DELETE, which ends a session."""
    lines = [f"DELETE {path} HTTP/1.1", f"host: {host}", f"mcp-protocol-version: {VERSION}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers)]).encode() + b"\r\n\r\n"


def form(host: str, path: str, fields: Mapping[str, str]) -> bytes:
    """A POST of a form."""
    body = urlencode(fields).encode()
    kind = "application/x-www-form-urlencoded"
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
