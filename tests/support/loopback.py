"""The real uvicorn in the test's own event loop, begun and ended at once: its own loops tick ten times a second."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn

LOOK: Final = 0.002


class LoopbackServer(uvicorn.Server):
    """A server that is told when to end, and waits `patience` seconds for what it still has under way."""

    def __init__(self, config: uvicorn.Config, patience: float) -> None:
        super().__init__(config)
        self._patience = patience
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the test runner's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # what every answer carries is made here
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(LOOK)
        for task in self.server_state.tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def serving(
    config: uvicorn.Config, listener: socket.socket | None = None, *, patience: float = 1.0
) -> AsyncIterator[LoopbackServer]:
    """Serve until the block ends, on `listener` or where `config` says."""
    server = LoopbackServer(config, patience)
    task = asyncio.create_task(server.serve(None if listener is None else [listener]))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    assert listening.done(), "uvicorn did not start"
    try:
        yield server
    finally:
        server.stopping.set()
        await task
