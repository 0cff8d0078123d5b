"""Drives an ASGI application without a server, one message at a time, so that a test decides who waits for whom."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Scope


@dataclass
class Reply:
    """What came back. `events` are the JSON messages of a stream of events, in order."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        """The messages of the stream."""
        assert self.is_stream
        blocks = self.body.decode().split("\n\n")
        data = ["\n".join(line[6:] for line in block.split("\n") if line.startswith("data: ")) for block in blocks]
        return [json.loads(each) for each in data if each]


@dataclass
class Conversation:
    """A request under way."""

    task: asyncio.Task[None]
    inbox: asyncio.Queue[Message]
    outbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    seen: list[Message] = field(default_factory=list)

    async def next(self) -> Message:
        """The application's next message."""
        async with asyncio.timeout(5):
            message = await self.outbox.get()
        self.seen.append(message)
        return message

    async def until_body(self, part: bytes) -> None:
        """Read on until a body message contains `part`."""
        while part not in (await self.next()).get("body", b""):
            pass

    def hang_up(self) -> None:
        """The client goes away."""
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def reply(self) -> Reply:
        """The whole answer; the application must finish within five seconds."""
        async with asyncio.timeout(5):
            await self.task
        while not self.outbox.empty():
            self.seen.append(self.outbox.get_nowait())
        return reply_of(self.seen)


def reply_of(messages: Iterable[Message]) -> Reply:
    """Put an answer together from the messages of one exchange, checking their order."""
    start, *rest = messages
    assert start["type"] == "http.response.start"
    assert [each["type"] for each in rest] == ["http.response.body"] * len(rest)
    assert [each.get("more_body", False) for each in rest] == [True] * (len(rest) - 1) + [False]
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    body = b"".join(each.get("body", b"") for each in rest)
    if "content-length" in headers and not headers.get("content-type", "").startswith("text/event-stream"):
        assert int(headers["content-length"]) == len(body)
    return Reply(start["status"], headers, body)


@dataclass
class AsgiClient:
    """Sends requests to `app`; `state` is what the middleware in front would have put there."""

    app: ASGIApp
    state: Mapping[str, Any] = field(default_factory=dict)
    path: str = "/mcp"

    def begin(
        self,
        method: str,
        body: bytes | None = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        parts: Iterable[bytes] | None = None,
        query: bytes = b"",
    ) -> Conversation:
        """Start a request. `parts` sends the body in several messages; `body=None` sends none of it yet."""
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": self.path,
            "query_string": query,
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "state": dict(self.state),
        }
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        pieces = list(parts) if parts is not None else [body] if body is not None else []
        for n, piece in enumerate(pieces):
            inbox.put_nowait({"type": "http.request", "body": piece, "more_body": n < len(pieces) - 1})
        outbox: asyncio.Queue[Message] = asyncio.Queue()

        async def run() -> None:
            await self.app(scope, inbox.get, outbox.put)

        return Conversation(asyncio.create_task(run()), inbox, outbox)

    async def send(
        self, method: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), **options: Any
    ) -> Reply:
        """Send a request and wait for the whole answer."""
        return await self.begin(method, body, headers, **options).reply()
