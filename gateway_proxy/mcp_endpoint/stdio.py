"""The aggregate as one stdio MCP server, for a desktop client on this machine (MCP, stdio transport).

One message per line on standard input, answers on standard output, nothing else there. The operator who started the
process is the caller; there is no token.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import msgspec

from gateway_proxy.mcp_endpoint.envelope import is_batch
from gateway_proxy.mcp_endpoint.loopback import Loopback, Outline, outline_of, transport_headers
from gateway_proxy.mcp_endpoint.parameters import CancelledParameters

LINE_LIMIT: Final = 4 * 1024 * 1024
LAST_ANSWERS_SECONDS: Final = 5.0
LISTEN: Final = "subscriptions/listen"
TOO_LONG: Final = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error: the line is over 4194304 bytes"}}'
)

_ids: Final[msgspec.json.Decoder[int | str]] = msgspec.json.Decoder(int | str)
_cancelled: Final = msgspec.json.Decoder(CancelledParameters)


class Writer(Protocol):
    """What is needed of an asyncio.StreamWriter."""

    def write(self, data: bytes) -> None:
        """Take these bytes."""

    async def drain(self) -> None:
        """Wait while too many are on their way."""


class StdioServer:
    """Serves one client until its input ends. `reader` needs a limit of at least `LINE_LIMIT`."""

    def __init__(self, loopback: Loopback, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._loopback = loopback
        self._reader = reader
        self._writer = writer
        self._writing = asyncio.Lock()
        self._session_id: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[int | str, asyncio.Task[None]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer until the end of input. What was asked before it gets its answer, if that comes soon."""
        try:
            while (line := await self._read_line()) is not None:
                if line:
                    await self._take(line)
            if self._answering:
                await asyncio.wait(self._answering, timeout=LAST_ANSWERS_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read_line(self) -> bytes | None:
        """The next line without its end; empty for one that was refused; None when there are no more."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
            return line.strip() or None
        except asyncio.LimitOverrunError:
            await self._skip_line()
            await self._write(TOO_LONG)
            return b""
        return line.strip()

    async def _skip_line(self) -> None:
        while True:
            try:
                await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
            except asyncio.IncompleteReadError:
                return
            else:
                return

    async def _take(self, line: bytes) -> None:
        """Requests and batches run beside each other; the handshake and notifications keep their order."""
        outline = outline_of(line)
        headers = transport_headers(outline)
        if outline.method == "initialize":
            outcome = await self._loopback.exchange("POST", line, headers, self._write, session_id=None)
            if outcome.session_id is not None:
                self._session_id = outcome.session_id
                self._start(self._hold_stream(outcome.session_id))
        elif outline.id and outline.method is not None:
            self._remember(outline, self._start(self._answer(line, headers)))
        elif is_batch(line):
            self._await_answer(self._start(self._answer(line, headers)))
        elif not self._cancel(outline):
            await self._answer(line, headers)

    def _remember(self, outline: Outline, task: asyncio.Task[None]) -> None:
        """Know a request until it is answered; an id that is none is refused by the endpoint."""
        if outline.method != LISTEN:
            self._await_answer(task)
        request_id = _id_of(outline.id)
        if request_id is not None:
            self._calls[request_id] = task
            task.add_done_callback(lambda done: self._forget(request_id, done))

    def _await_answer(self, task: asyncio.Task[None]) -> None:
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _forget(self, request_id: int | str, done: asyncio.Task[None]) -> None:
        if self._calls.get(request_id) is done:
            del self._calls[request_id]

    def _cancel(self, outline: Outline) -> bool:
        """Hang up a request that the client cancels, which is told nothing more of it (stdio, Cancellation).

        False for any other message; also for a request that is none of these, as it may be one of a batch.
        """
        if outline.method != "notifications/cancelled":
            return False
        try:
            request_id = _cancelled.decode(outline.params).request_id
        except msgspec.MsgspecError:
            return True
        task = None if request_id is None else self._calls.get(request_id)
        return task is not None and task.cancel()

    async def _answer(self, line: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        session_id = None if headers else self._session_id
        await self._loopback.exchange("POST", line, headers, self._write, session_id=session_id)

    async def _hold_stream(self, session_id: str) -> None:
        """Pass on what belongs to no call for as long as the client is there."""
        while True:
            await self._loopback.exchange("GET", b"", (), self._write, session_id=session_id)
            await asyncio.sleep(1)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write(self, message: bytes) -> None:
        async with self._writing:
            self._writer.write(message.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
            await self._writer.drain()


def _id_of(raw: msgspec.Raw) -> int | str | None:
    try:
        return _ids.decode(raw)
    except msgspec.MsgspecError:
        return None
