"""A server built with the official SDK as the backend: the oracle for our side of streamable HTTP (relay.md 1)."""

import json

import pytest
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from gateway_proxy.router.messages import Notification, RelayMessage, ServerRequest
from tests.flows.test_relay_calls import call, texts
from tests.support.mcp_backends import serve
from tests.support.relay_rooms import RELAYING, http_backend, make_context, open_relay


class Amount(BaseModel):
    """What `ask` wants to know."""

    number: int


def build_server() -> MCPServer:
    """Progress, an error, and a question to the client."""
    server = MCPServer("oracle")

    @server.tool()
    async def work(ctx: Context, steps: int) -> str:
        """Report each step."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps)
        return "done"

    @server.tool()
    async def fail() -> str:
        """Always fails."""
        raise ValueError("no")

    @server.tool()
    async def ask(ctx: Context) -> str:
        """Ask how many."""
        found = await ctx.elicit("How many?", Amount)
        return str(found.data.number) if found.action == "accept" else found.action

    return server


@pytest.mark.parametrize("as_json", [False, True])
async def test_tools_of_an_sdk_server_are_listed_and_called(as_json: bool) -> None:
    """2025-11-25: handshake, session, list, call, tool error, against the reference implementation."""
    server = build_server()
    app = server.streamable_http_app(json_response=as_json)
    async with server.session_manager.run(), serve(app) as url, open_relay([http_backend(url)]) as relay:
        assert await relay.names() == ["calc__ask", "calc__fail", "calc__work"]
        assert texts(await call(relay, "calc__work", {"arguments": {"steps": 1}})) == ["done"]
        await call(relay, "calc__fail", {"arguments": {}})
        assert [outcome for _, outcome in relay.recorder.outcomes] == ["ok", "tool_error"]


async def test_progress_and_questions_of_an_sdk_server_reach_the_caller() -> None:
    """2025-11-25, Progress and Elicitation, on the stream of the call."""
    server = build_server()
    app = server.streamable_http_app()
    async with server.session_manager.run(), serve(app) as where, open_relay([http_backend(where)]) as relay:
        params = {"arguments": {"steps": 3}, "_meta": {"progressToken": 1}}
        messages = await call(relay, "calc__work", params)
        notes = [json.loads(m.raw)["params"] for m in messages if isinstance(m, Notification)]
        assert [(note["progressToken"], note["progress"]) for note in notes] == [(1, 1), (1, 2), (1, 3)]
        found: list[RelayMessage] = []
        async for message in relay.calls.call(
            make_context(), RELAYING, name="calc__ask", params=b'{"name":"x","arguments":{}}'
        ):
            found.append(message)
            if isinstance(message, ServerRequest):
                assert message.method == "elicitation/create"
                await message.answer(b'"result":{"action":"accept","content":{"number":7}}')
        assert texts(found) == ["7"]
