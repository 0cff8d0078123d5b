"""A connection that a test can cut and mend: what a restarting Redis or database looks like to its users."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class TcpLink:
    """Listens on a free port and forwards to the server of `url` (TCP or unix socket) while it is up. Use as a context.

    `bytes_sent` counts what went towards the server.
    """

    def __init__(self, url: str, *, default_port: int = 6379) -> None:
        self._target = urlsplit(url)
        self._default_port = default_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.bytes_sent = 0

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and break the open ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await self._open()
            self._writers |= {writer, far_writer}
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await asyncio.gather(_pump(reader, far_writer, self._count), _pump(far_reader, writer, lambda _: None))
            self._writers -= {writer, far_writer}
            for each in (writer, far_writer):
                each.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        return await asyncio.open_connection(self._target.hostname, self._target.port or self._default_port)

    def _count(self, data: bytes) -> None:
        self.bytes_sent += len(data)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]) -> None:
    while data := await reader.read(65536):
        seen(data)
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
