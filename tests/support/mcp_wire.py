"""MCP by hand: JSON-RPC over HTTP without an SDK, for tests that look at the wire itself."""

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = "application/json, text/event-stream"
_ids = itertools.count(1)


async def read_messages(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON-RPC messages of a response, be it JSON or a stream of events."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        async for line in response.aiter_lines():
            if line.startswith("data:") and line[5:].strip():
                yield json.loads(line[5:])
    else:
        body = await response.aread()
        if body:
            yield json.loads(body)


@dataclass
class Wire:
    """One client on the wire. `session` is sent when there is one; `modern` chooses the era."""

    http: httpx2.AsyncClient
    url: str
    modern: bool = False
    session: str | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)

    def headers(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        """The transport headers of a request."""
        headers = {"Accept": ACCEPT, "MCP-Protocol-Version": MODERN if self.modern else LEGACY}
        if self.modern:
            headers["Mcp-Method"] = method
            if method in ("tools/call", "prompts/get"):
                headers["Mcp-Name"] = params["name"]
            elif method == "resources/read":
                headers["Mcp-Name"] = params["uri"]
        if self.session:
            headers["Mcp-Session-Id"] = self.session
        return headers

    def message(self, method: str, params: dict[str, Any], message_id: int | str | None = None) -> dict[str, Any]:
        """A request in this client's era."""
        if self.modern:
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
            }
            params = {**params, "_meta": meta | params.get("_meta", {})}
        return {
            "jsonrpc": "2.0",
            "id": next(_ids) if message_id is None else message_id,
            "method": method,
            "params": params,
        }

    async def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request; the JSON-RPC response. What came before it on the stream is in `seen`."""
        message = self.message(method, params or {})
        headers = self.headers(method, params or {})
        async with self.http.stream("POST", self.url, json=message, headers=headers) as response:
            if method == "initialize":
                self.session = response.headers.get("mcp-session-id")
            async for received in read_messages(response):
                if received.get("id") == message["id"] and ("result" in received or "error" in received):
                    return received
                self.seen.append(received)
        raise AssertionError(f"no answer to {method}: HTTP {response.status_code}")

    async def initialize(self, capabilities: dict[str, Any] | None = None) -> dict[str, Any]:
        """The legacy handshake; the session id is kept."""
        params = {
            "protocolVersion": LEGACY,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "wire", "version": "1"},
        }
        answer = await self.request("initialize", params)
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self.http.post(self.url, json=note, headers=self.headers("notifications/initialized", {}))
        return answer

    async def call(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """tools/call; the JSON-RPC response."""
        return await self.request("tools/call", {"name": name, "arguments": arguments or {}})

    async def tool_names(self) -> list[str]:
        """The names that tools/list gives, over all pages."""
        names: list[str] = []
        params: dict[str, Any] = {}
        while True:
            result = (await self.request("tools/list", params))["result"]
            names += [tool["name"] for tool in result["tools"]]
            if not result.get("nextCursor"):
                return names
            params = {"cursor": result["nextCursor"]}


def text_of(response: dict[str, Any]) -> str:
    """The joined text blocks of a tools/call response."""
    assert "result" in response, response
    return "".join(block.get("text", "") for block in response["result"]["content"])
