"""What holds the first workers back until the database is prepared. They start before that: importing takes as long.

A gate opens once, for those who wait and for all who come later. It is a byte that nobody takes out of a socket, so a
supervisor that dies leaves a closed gate and nobody waiting.
"""

import socket
import sys

from uvicorn.config import STARTUP_FAILURE


class Gate:
    """The supervisor's side. `entrance` is what a worker is given."""

    def __init__(self) -> None:
        self.entrance, self._lever = socket.socketpair()

    def open(self) -> None:
        """Let everybody in, from now on."""
        self._lever.send(b"1")

    def close(self) -> None:
        """Let go of it, when there is nobody to be let in any more."""
        self.entrance.close()
        self._lever.close()


def wait_until_open(entrance: socket.socket) -> None:
    """Return when the gate is open.

    Raises:
        SystemExit: It never will be: who could open it has gone.
    """
    with entrance:
        if not entrance.recv(1, socket.MSG_PEEK):
            sys.exit(STARTUP_FAILURE)
