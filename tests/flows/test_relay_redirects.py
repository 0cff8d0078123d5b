"""Backends that redirect: within their origin they are followed when a session opens, and nowhere else."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway_proxy.domain.backend import Transport
from gateway_proxy.domain.errors import BackendMisbehaved
from gateway_proxy.router.caller import Caller
from gateway_proxy.sessions.memory_store import MemorySessionStore
from tests.support.clock import FakeClock
from tests.support.mcp_backends import McpBackend, Receive, Send, demo_backend, serve
from tests.support.relay_rooms import LEGACY, MODERN, Relay, http_backend, make_context, open_relay

Seen = list[tuple[str, str, str | None]]


@dataclass
class Redirecting:
    """An MCP server behind a path that redirects. `moves` is by path: a status and the location that goes with it."""

    moves: dict[str, tuple[int, str]]
    backend: McpBackend = field(default_factory=demo_backend)
    seen: Seen = field(default_factory=list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        self.seen.append((scope["method"], scope["path"], authorization and authorization.decode()))
        move = self.moves.get(scope["path"])
        if move is None:
            await self.backend(scope, receive, send)
            return
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        pairs = [(b"location", move[1].encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": move[0], "headers": pairs})
        await send({"type": "http.response.body", "body": b""})

    def count(self, path: str) -> int:
        """How many requests came to a path."""
        return sum(each[1] == path for each in self.seen)


async def _call(relay: Relay, caller: Caller = LEGACY) -> None:
    outcome = await relay.calls.call_to_end(make_context(), caller, name="calc__echo", arguments=b"{}")
    assert type(outcome).__name__ == "Result"


@pytest.mark.parametrize("caller", [LEGACY, MODERN], ids=["legacy", "modern"])
@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_origin_is_followed_once_per_session(status: int, caller: Caller) -> None:
    """contract.md, GATEWAY_EGRESS_ALLOW: redirects never leave the allowed origin. SDK servers send 307 for a slash."""
    server = Redirecting({"/mcp": (status, "/mcp/")}, demo_backend(modern=caller.modern))
    async with serve(server) as url, open_relay([http_backend(url, headers={"authorization": "Bearer b"})]) as relay:
        await _call(relay, caller)
        opened = server.count("/mcp")
        for _ in range(3):
            await _call(relay, caller)
        assert server.count("/mcp") == opened
        assert server.count("/mcp/") >= 5
        assert {each[2] for each in server.seen} == {"Bearer b"}


async def test_another_worker_goes_where_the_session_was_opened() -> None:
    """design relay.md 2: any worker serves any session."""
    clock = FakeClock()
    records = MemorySessionStore(clock)
    server = Redirecting({"/mcp": (307, "/elsewhere?a=b")})
    async with serve(server) as url:
        backends = [http_backend(url)]
        async with open_relay(backends, clock=clock, records=records) as first:
            await _call(first)
        server.seen.clear()
        async with open_relay(backends, clock=clock, records=records) as second:
            await _call(second)
        assert server.count("/mcp") == 0
    assert len(server.backend.calls("initialize")) == 2


async def test_an_absolute_location_and_a_second_step_are_followed_and_a_third_is_not() -> None:
    """At most twice."""
    moves = {"/mcp": (307, "/b"), "/b": (308, "/c"), "/c": (307, "/d")}
    server = Redirecting(moves)
    async with serve(server) as url, open_relay([http_backend(url)]) as relay:
        moves["/b"] = (308, f"{url}/c")
        assert await relay.names() == []
        (status,) = await relay.catalog.status(make_context())
        assert "redirect 307" in (status.problem or "")
        assert server.count("/d") == 0
        del moves["/c"]
        await relay.catalog.close()
    async with serve(server) as url, open_relay([http_backend(url)]) as relay:
        moves["/b"] = (308, f"{url}/c")
        await _call(relay)


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "/mcp/"), (302, "/mcp/"), (303, "/mcp/"), (307, ""), (307, "https://127.0.0.1:{port}/mcp/"),
        (307, "http://localhost:{port}/mcp/"), (308, "//169.254.169.254/"), (307, "http://127.0.0.1:1/mcp/"),
        (307, "http://u:p@127.0.0.1:{port}/mcp/"), (307, "file:///etc/passwd"), (307, "http://[::1/"),
    ],
)  # fmt: skip
async def test_any_other_redirect_is_the_error_that_says_what_to_write(status: int, location: str) -> None:
    """security.md E1: never another origin; 301, 302 and 303 turn a POST into a GET."""
    moves = {"/mcp": (status, "")}
    server = Redirecting(moves)
    async with serve(server) as url, open_relay([http_backend(url)]) as relay:
        moves["/mcp"] = (status, location.replace("{port}", url.rpartition(":")[2]))
        with pytest.raises(BackendMisbehaved) as caught:
            await relay.upstreams.introduce(relay.backends[0])
        assert caught.value.fault == (
            f"it answered with redirect {status}, which is not followed: write as its url where that leads"
        )
        assert server.count("/mcp/") == 0
        assert server.count("/mcp") == 1


async def test_a_redirect_of_a_call_is_not_followed() -> None:
    """Only what opens a session is sent again: a call may have been acted upon."""
    moves: dict[str, tuple[int, str]] = {}
    server = Redirecting(moves)
    async with serve(server) as url, open_relay([http_backend(url, transport=Transport.AUTO)]) as relay:
        await _call(relay)
        moves["/mcp"] = (307, "/mcp/")
        with pytest.raises(BackendMisbehaved):
            await _call(relay)
        assert server.count("/mcp/") == 0
