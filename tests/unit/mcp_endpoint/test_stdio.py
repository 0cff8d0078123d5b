"""The stdio transport by itself: lines in, lines out, and cancelling without a stream to hang up."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.loopback import Loopback
from gateway_proxy.mcp_endpoint.stdio import StdioServer
from tests.support.fake_router import FakeToolCalls
from tests.unit.mcp_endpoint.conftest import ECHO, META, PROGRESS, context, request


@dataclass
class Pipe:
    """The client's end: `say` writes a line, `hear` reads one. In place of an asyncio.StreamWriter for the server."""

    reader: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    lines: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def write(self, line: bytes) -> None:
        self.lines.put_nowait(line)

    async def drain(self) -> None:
        return None

    def say(self, message: Any) -> None:
        """Write a message, or a line as it is."""
        self.reader.feed_data((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")

    async def hear(self) -> Any:
        """The next message."""
        async with asyncio.timeout(5):
            line = await self.lines.get()
        assert line.endswith(b"\n")
        assert b"\n" not in line[:-1]
        return json.loads(line)


@pytest.fixture
async def pipe(endpoint: McpEndpoint) -> AsyncIterator[Pipe]:
    """A server over the endpoint, for Ann."""
    pipe = Pipe()
    server = StdioServer(Loopback(endpoint, context()), pipe.reader, cast(asyncio.StreamWriter, pipe))
    task = asyncio.create_task(server.serve())
    yield pipe
    pipe.reader.feed_eof()
    async with asyncio.timeout(5):
        await task


def modern(method: str, request_id: Any, **params: Any) -> dict[str, Any]:
    """A request of 2026-07-28."""
    return request(method, {"_meta": META, **params}, request_id=request_id)


def cancelled(request_id: Any) -> dict[str, Any]:
    """The client gives a request up."""
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_cancelled_request_is_cancelled_upstream_and_never_spoken_of_again(
    pipe: Pipe, calls: FakeToolCalls, era: str
) -> None:
    """MCP 2026-07-28, stdio, Cancellation: MUST NOT send any further messages for it."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    calls.scripts["slow"] = [PROGRESS, for_ever]
    if era == "legacy":
        pipe.say(request("initialize", {"protocolVersion": "2025-11-25"}))
        assert (await pipe.hear())["result"]["protocolVersion"] == "2025-11-25"
        pipe.say(request("tools/call", {"name": "slow"}, request_id="q"))
    else:
        pipe.say(modern("tools/call", "q", name="slow"))
    assert (await pipe.hear())["method"] == "notifications/progress"

    unknown: list[Any] = ["other", 7, None, {}]
    for nonsense in unknown:
        pipe.say(cancelled(nonsense))
    assert "slow" not in calls.closed
    pipe.say(cancelled("q"))
    async with asyncio.timeout(5):
        while "slow" not in calls.closed:
            await asyncio.sleep(0.005)

    pipe.say(modern("tools/call", 2, name="echo"))
    assert (await pipe.hear())["id"] == 2


async def test_requests_that_are_none_are_answered_by_their_id(pipe: Pipe) -> None:
    """JSON-RPC 2.0 §5: without it a client of stdio would wait for ever; what has no id is answered with null."""
    pipe.say({"jsonrpc": "2.0", "id": 5, "method": "ping", "params": []})
    assert (await pipe.hear())["id"] == 5
    pipe.say(b"nonsense")
    assert (await pipe.hear())["error"]["code"] == -32700


async def test_arguments_are_not_missed_in_headers_that_stdio_has_not(pipe: Pipe, calls: FakeToolCalls) -> None:
    """MCP 2026-07-28, Custom Headers: only Streamable HTTP repeats arguments in headers."""
    pipe.say(modern("tools/call", 1, name="echo"))
    assert "result" in await pipe.hear()
    assert calls.calls[-1].caller.param_headers is None


@pytest.mark.parametrize(
    ("method", "parameters"), [("tasks/get", {"taskId": "x"}), ("é/bar", {}), ("tools/call", {"name": "é"})]
)
async def test_nothing_is_missed_in_headers_that_stdio_has_not(
    pipe: Pipe, method: str, parameters: dict[str, str]
) -> None:
    """MCP 2026-07-28, stdio, Request Metadata: there is no header layer, so nothing that it could contradict."""
    pipe.say(modern(method, 1, **parameters))
    assert (await pipe.hear())["error"]["code"] in (-32601, -32602)


@pytest.mark.parametrize("as_batch", [False, True])
async def test_what_was_asked_before_the_end_of_input_is_answered(
    pipe: Pipe, calls: FakeToolCalls, as_batch: bool
) -> None:
    """Whoever pipes messages in closes the input before the answers are there."""
    ended = asyncio.Event()

    async def until_the_end() -> None:
        await ended.wait()

    calls.scripts["slow"] = [until_the_end, ECHO]
    call = request("tools/call", {"name": "slow"}, request_id="q")
    pipe.say(request("initialize", {"protocolVersion": "2025-03-26"}))
    assert "result" in await pipe.hear()
    pipe.say([call] if as_batch else call)
    pipe.say(request("ping", request_id="p"))
    assert (await pipe.hear())["id"] == "p"
    pipe.reader.feed_eof()
    await calls.started.wait()
    ended.set()
    assert (await pipe.hear())["id"] == "q"


async def test_a_request_of_a_batch_can_be_cancelled(pipe: Pipe, calls: FakeToolCalls) -> None:
    """MCP 2025-03-26, Cancellation: by its id, like any other."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    calls.scripts["slow"] = [for_ever]
    pipe.say(request("initialize", {"protocolVersion": "2025-03-26"}))
    assert "result" in await pipe.hear()
    pipe.say([request("tools/call", {"name": "slow"}, request_id="q")])
    await calls.started.wait()
    pipe.say(cancelled("q"))
    assert (await pipe.hear())["error"]["code"] == -32800
    assert calls.closed == ["slow"]
