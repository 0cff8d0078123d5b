"""One worker process as the supervisor holds it. Workers load this module, so nothing of the supervisor may be here."""

import asyncio
import socket
from typing import Final

from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import Process

TURNS: Final = 5  # of the event loop, which looks at its sockets between two, and needs some to make a connection


class WorkerServer(Server):
    """Uvicorn's server, which lets nobody stand at the door."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take in who has connected already, and only then let go of the address.

        Closing it cuts off who waits to be accepted, which is everybody who came while this process had no turn: on a
        busy machine the order to stop is then heard before they are seen.
        """
        for _ in range(TURNS):
            await asyncio.sleep(0)
        await super().shutdown(sockets)


class WorkerProcess(Process):
    """Uvicorn's process around that server."""

    @property
    def server(self) -> Server:
        """The server, made in the worker."""
        if self._server is None:
            self._server = WorkerServer(self.config)
        return self._server
