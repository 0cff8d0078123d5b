"""Whether a worker still answers: asked and listened for, never waited for. What follows from silence is not here."""

import pickle
from typing import Final

from uvicorn.supervisors.multiprocess import Process

from gateway_proxy.domain.clock import Clock

SILENCE_SECONDS: Final = 30.0  # a thread of its own answers, so this is a worker that is stopped or stuck in C


class Heartbeat:
    """The pings of one worker. One at a time is under way, so that writing one never blocks."""

    def __init__(self, process: Process, clock: Clock) -> None:
        self.process = process
        self.is_serving = False
        self._clock = clock
        self._asked_at: float | None = None

    def is_beating(self) -> bool:
        """Read the answer that has come, ask again, and return; False when the worker is dead or silent for too long.

        `is_serving` is true from the first answer that says so.
        """
        if not self.process.process.is_alive():
            return False
        now = self._clock.monotonic()
        try:
            while self.process.parent_conn.poll():  # before the time is looked at: it may be we who slept
                self.is_serving = self.process.parent_conn.recv() or self.is_serving
                self._asked_at = None
            if self._asked_at is None:
                self.process.parent_conn.send(b"ping")
                self._asked_at = now
        except (OSError, EOFError, pickle.UnpicklingError):  # it is about to die, or does not make sense any more
            self._asked_at = now if self._asked_at is None else self._asked_at
        return now - self._asked_at < SILENCE_SECONDS
