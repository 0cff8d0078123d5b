"""One worker process as the supervisor holds it. Workers load this module, so nothing of the supervisor may be here."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Final

from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import Process

_TURNS: Final = 3  # of the event loop, which lets go of a socket in the turn after the one in which it is told to


class WorkerServer(Server):
    """Uvicorn's server, which lets nobody stand at the door."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of the address, but not before everybody is taken in who has connected.

        Whoever waits to be accepted when it is closed is cut off, and a proxy may not send a POST a second time. On a
        busy machine that is everybody who came while this process had no turn. So the last hold on the address is one
        of ours, and nothing lies between finding nobody there and closing it.
        """
        doors = [each.dup() for each in sockets or ()]
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for waiting in [each for door in doors for each in _empty(door)]:
            await asyncio.get_running_loop().connect_accepted_socket(self._open, waiting)
        await super().shutdown(sockets)

    def _open(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _empty(door: socket.socket) -> Iterator[socket.socket]:
    """Accept who is there, and close it."""
    with door:
        door.setblocking(False)
        while True:
            try:
                yield door.accept()[0]
            except OSError:
                return


class WorkerProcess(Process):
    """Uvicorn's process around that server."""

    @property
    def server(self) -> Server:
        """The server, made in the worker."""
        if self._server is None:
            self._server = WorkerServer(self.config)
        return self._server
