"""With a token, what Claude does in a chat: `initialize`, the tools, a ping, and a stream that stays open.

As Claude does, no session id is sent back.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from gateway_proxy.doctor.challenge import INITIALIZE
from gateway_proxy.doctor.findings import Findings, quoted
from gateway_proxy.doctor.http import ACCEPT, CALLING_AGENT, Answer, Visitor, origin_of

TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TOKENS_BEFORE_A_WARNING: Final = 20_000
BYTES_OF_A_TOKEN: Final = 4
PAGES: Final = 100
FIRST_BYTE_SECONDS: Final = 20.0
STARTING_SECONDS: Final = 5.0
_VERSION: Final = "2025-11-25"


class Calls:
    """Authenticated requests to one MCP server."""

    def __init__(self, visitor: Visitor, url: str, token: str, found: Findings) -> None:
        self._visitor = visitor
        self._url = url
        self._found = found
        self._session = ""
        self._headers = {"accept": ACCEPT, "authorization": f"Bearer {token}", "user-agent": CALLING_AGENT}

    async def check(self) -> None:
        """Every step; the first that fails makes the rest senseless."""
        if not await self._check_initialize():
            return
        await self._check_tools()
        answer = await self._send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        if _result_of(answer, 2) is None:
            self._found.warn("ping", str(answer), expected="an empty result")
        else:
            self._found.ok("ping", "answered")
        await self._check_stream()
        await self._check_models()
        if self._session:
            await self._visitor.ask("DELETE", self._url, headers={**self._headers, "mcp-session-id": self._session})

    async def _check_initialize(self) -> bool:
        answer = await self._send(INITIALIZE)
        result = _result_of(answer, INITIALIZE["id"])
        if result is None:
            advice = {
                401: "the token is not good here: expired, revoked, or of another server",
                403: "a firewall that blocks Claude-User, or a token without the scope",
            }.get(answer.status, "the server must answer a plain initialize")
            self._found.fail("initialize", f"{answer}{_error_of(answer)}", expected="a result", advice=advice)
            return False
        asked = [message.get("method") for message in answer.messages if "method" in message and "id" in message]
        if asked:
            advice = "Claude answers no requests of a server while it connects: do not send any there"
            self._found.fail("initialize", f"the server asked for {quoted(asked[0])}", advice=advice)
        else:
            self._found.ok("initialize", f"protocol {quoted(result.get('protocolVersion'))}")
        self._session = answer.headers.get("mcp-session-id", "")
        await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return True

    async def _check_tools(self) -> None:
        tools = await self._list_tools()
        if tools == []:
            await asyncio.sleep(STARTING_SECONDS)
            tools = await self._list_tools()
            if tools:
                advice = "servers were starting; Claude reads the list once, and shows none until it connects anew"
                self._found.warn("tools", f"none at first, {len(tools)} a moment later", advice=advice)
        if tools is not None:
            _judge_tools(tools, self._found)

    async def _list_tools(self) -> list[Any] | None:
        tools: list[Any] = []
        cursor: object = None
        for _ in range(PAGES):
            request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
            if cursor is not None:
                request["params"]["cursor"] = cursor
            answer = await self._send(request)
            result = _result_of(answer, 1)
            if result is None:
                await self._say_why_no_tools(request, answer)
                return None
            page = result.get("tools")
            tools += page if isinstance(page, list) else []
            cursor = result.get("nextCursor")
            if cursor is None:
                return tools
        self._found.warn("tools", f"more than {PAGES} pages", advice="the list seems to have no end")
        return tools

    async def _say_why_no_tools(self, request: Mapping[str, Any], answer: Answer) -> None:
        again = await self._send(request, session=self._session) if self._session else Answer()
        seen = f"{answer}{_error_of(answer)}"
        if _result_of(again, 1) is not None:
            advice = "Claude does not send Mcp-Session-Id back: serve requests without it"
            self._found.fail("tools", f"{seen} without Mcp-Session-Id", expected="a result all the same", advice=advice)
        else:
            self._found.fail("tools", seen, expected="a result")

    async def _check_stream(self) -> None:
        """A stream whose first bytes arrive while it is open is not buffered by a proxy."""
        headers = {**self._headers, "accept": "text/event-stream", "mcp-protocol-version": _VERSION}
        if self._session:
            headers["mcp-session-id"] = self._session
        answer = await self._visitor.ask("GET", self._url, headers=headers, until=b"\n\n", seconds=FIRST_BYTE_SECONDS)
        if answer.status == 200 and answer.kind == "text/event-stream" and b"\n\n" in answer.body:
            self._found.ok("stream", "its first event arrives while it is open")
        elif answer.fault:
            advice = (
                "a proxy that buffers (nginx: proxy_buffering off), or a server without heartbeats: streams get cut"
            )
            seen = f"nothing within {FIRST_BYTE_SECONDS:.0f} s"
            self._found.warn("stream", seen, expected="an event or a heartbeat", advice=advice)
        else:
            self._found.skip("stream", f"the server keeps none open ({answer})")

    async def _check_models(self) -> None:
        url = f"{origin_of(self._url)}/v1/models"
        answer = await self._visitor.ask("GET", url, headers={"authorization": self._headers["authorization"]})
        models = answer.document.get("data")
        if answer.status == 200 and isinstance(models, list):
            self._found.ok("models", f"{len(models)} under /v1/models")
        elif answer.status in (401, 403):
            self._found.skip("models", "the token does not open /v1")
        elif answer.status == 404:
            self._found.skip("models", "no /v1 there")
        else:
            self._found.warn("models", f"/v1/models gives {answer}")

    async def _send(self, message: Mapping[str, Any], *, session: str = "") -> Answer:
        more = {"mcp-session-id": session} if session else {}
        if message.get("method") != "initialize":
            more["mcp-protocol-version"] = _VERSION
        return await self._visitor.ask("POST", self._url, headers={**self._headers, **more}, json=dict(message))


def _judge_tools(tools: list[Any], found: Findings) -> None:
    named = [str(tool.get("name")) if isinstance(tool, dict) else "" for tool in tools]
    bad = [name for name in named if not TOOL_NAME.fullmatch(name)]
    twice = [name for name, number in Counter(named).items() if number > 1]
    tokens = len(json.dumps(tools, ensure_ascii=False).encode("utf-8", "surrogatepass")) // BYTES_OF_A_TOKEN
    seen = f"{len(tools)} with about {tokens:,} tokens of definitions"
    if bad:
        advice = "one such name hides the whole connector: rename it"
        found.fail(
            "tools", f"named {quoted(bad[0])}", expected=f"names that match ^{TOOL_NAME.pattern}$", advice=advice
        )
    elif twice:
        found.warn("tools", f"{quoted(twice[0])} stands there twice", advice="clients take the first, or none")
    elif tokens > TOKENS_BEFORE_A_WARNING:
        advice = "Claude warns people that the connector takes much of the context: offer fewer tools, or shorter words"
        found.warn("tools", seen, expected=f"at most {TOKENS_BEFORE_A_WARNING:,}", advice=advice)
    elif not tools:
        found.warn("tools", "none", advice="is a server defined for this person's team?")
    else:
        found.ok("tools", seen)


def _result_of(answer: Answer, number: object) -> dict[str, Any] | None:
    if answer.status != 200:
        return None
    for message in answer.messages:
        if message.get("id") == number and isinstance(message.get("result"), dict):
            result: dict[str, Any] = message["result"]
            return result
    return None


def _error_of(answer: Answer) -> str:
    for message in answer.messages:
        error = message.get("error")
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            return f" {error['code']}"
    return ""
