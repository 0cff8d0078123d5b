"""How streams leave: heartbeats, early failures, slow readers (openai-clients.md, recommended loop 8; security D3)."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from gateway_proxy.domain.errors import RateLimited
from openai_routes import stream as streams
from openai_routes.chat_stream import ChunkWriter
from openai_routes.endpoint import Endpoint, Inbound
from openai_routes.errors import wire_error
from openai_routes.stream import KEEP_ALIVE, EventStream, send_stream
from openai_routes.turn import NO_USAGE, CallDelta, LoopEnded, TextDelta
from tests.support.llm.surface import make_context


class Wire:
    """What was sent, and when there is news."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        self.sent.append(message)
        self.news.set()

    @property
    def body(self) -> bytes:
        """Everything sent."""
        return b"".join(message.get("body", b"") for message in self.sent)


def limited() -> bytes:
    """Fails as a full worker does."""
    raise RateLimited(3)


async def test_while_nothing_is_said_comments_keep_the_connection_alive() -> None:
    """A tool that takes 90 s: headers go after the patience, then a comment for every heartbeat."""
    wire, go_on = Wire(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await go_on.wait()
        yield b"data: x\n\n"

    running = asyncio.create_task(send_stream(EventStream(frames(), patience=0.02, heartbeat=0.05), wire, wire_error))
    async with asyncio.timeout(10):
        while wire.body.count(KEEP_ALIVE) < 3:
            wire.news.clear()
            await wire.news.wait()
    go_on.set()
    await running
    assert wire.sent[0]["status"] == 200
    assert wire.body.replace(KEEP_ALIVE, b"") == b"data: x\n\n"
    assert wire.sent[-1]["more_body"] is False


async def test_a_failure_before_the_first_word_has_its_status() -> None:
    """Headers are held back so that an early error is no broken stream."""

    async def frames() -> AsyncGenerator[bytes, None]:
        yield limited()

    wire = Wire()
    await send_stream(EventStream(frames()), wire, wire_error)
    assert wire.sent[0]["status"] == 429
    assert (b"retry-after", b"3") in wire.sent[0]["headers"]


async def test_a_failure_behind_a_heartbeat_is_an_event() -> None:
    """The status has gone; the client still hears why."""
    wire, go_on = Wire(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await go_on.wait()
        yield limited()

    running = asyncio.create_task(send_stream(EventStream(frames(), patience=0.01), wire, wire_error))
    async with asyncio.timeout(10):
        await wire.news.wait()
    go_on.set()
    await running
    assert wire.sent[0]["status"] == 200
    assert b'"code":"rate_limit_exceeded"' in wire.body
    assert wire.body.endswith(b"data: [DONE]\n\n")


async def test_a_reader_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Security D3: slow readers must not hold a provider and a worker's memory."""
    monkeypatch.setattr(streams, "SLOW_READER_SECONDS", 0.05)
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.set()

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    running = asyncio.create_task(send_stream(EventStream(frames(), patience=0.02, heartbeat=0.05), stuck, wire_error))
    async with asyncio.timeout(10):
        await asyncio.wait({running})
    assert running.cancelled()
    assert closed.is_set()


async def test_an_answer_ends_when_its_token_is_revoked() -> None:
    """Security RS2: streams are looked at again while they run, and closed within 5 s of a revocation."""
    closed, good = asyncio.Event(), [True, True, False]

    async def handle(_: Inbound) -> EventStream:
        async def frames() -> AsyncGenerator[bytes, None]:
            try:
                yield b"data: x\n\n"
                await asyncio.Event().wait()
            finally:
                closed.set()

        return EventStream(frames())

    async def is_still_welcome(_: Any) -> bool:
        return good.pop(0)

    async def receive() -> Any:
        if not bodies:
            await asyncio.Event().wait()
        return bodies.pop()

    bodies = [{"type": "http.request", "body": b"", "more_body": False}]
    scope: Any = {"type": "http", "method": "GET", "path": "/v1/x", "headers": []}
    scope["state"] = {"tenant_context": make_context()}
    endpoint = Endpoint({"GET": handle}, is_still_welcome=is_still_welcome, recheck_seconds=0.01)
    async with asyncio.timeout(10):
        await endpoint(scope, receive, Wire())
    assert closed.is_set()
    assert good == []


def test_a_long_piece_is_told_in_several_events() -> None:
    """Security D2: 1 MiB to /v1 clients."""
    writer = ChunkWriter("c", 1, "m")
    text = "é" * 1_000_000
    frames = writer.frames(
        [TextDelta(text), CallDelta(0, "call_1", "f", text), LoopEnded("tool_calls", NO_USAGE, 0, 0)]
    )
    events = [event.removeprefix(b"data: ") for event in frames.split(b"\n\n") if event]
    assert max(map(len, events)) < 1024 * 1024
    deltas = [msgspec.json.decode(event)["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == text
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call.get("arguments", "") for call in calls) == text
