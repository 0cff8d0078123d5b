"""A server that answers with exactly the bytes a test wrote, over TCP, a unix socket or TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class ScriptedServer:
    """What it was asked and where it listens. `answers` are used in turn, the last one for ever."""

    answers: Sequence[bytes]
    is_closing: bool = False
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    server_names: list[str | None] = field(default_factory=list)
    hold: asyncio.Event | None = None
    running: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests with a Content-Length and answer each."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.running[task] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ),
                    0,
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                writer.write(answer)
                await writer.drain()
                if self.hold is not None:
                    await self.hold.wait()
                if self.is_closing:
                    break
        writer.close()


@asynccontextmanager
async def scripted_http(
    *answers: bytes,
    closing: bool = False,
    unix: str | None = None,
    tls: ssl.SSLContext | None = None,
    hold: asyncio.Event | None = None,
) -> AsyncIterator[ScriptedServer]:
    """Run a `ScriptedServer` on a free port of 127.0.0.1, or on a unix socket."""
    script = ScriptedServer(answers, closing, hold=hold)
    if unix is not None:
        server = await asyncio.start_unix_server(script.serve, unix)
    else:
        if tls is not None:
            tls.sni_callback = lambda _, name, __: script.server_names.append(name)
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
        script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for task, writer in list(script.running.items()):
            writer.transport.abort()
            task.cancel()
            await asyncio.wait([task])
        await asyncio.sleep(0)
