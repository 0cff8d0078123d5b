"""Alarms by the dozen of which nearly all are called off: time-outs of calls that are quick.

A timer of the event loop costs about 5,000 instructions to set and to cancel, and a call would need several; here they
share one, and an alarm is an entry in a dictionary (ADR 12).
"""

import asyncio
import math
from contextvars import Context
from typing import Final, Protocol

_TICK: Final = 0.001
"""Event loops count in milliseconds. Who looks one later than the time finds it past, and has not to look again."""


class Sleeper(Protocol):
    """Who wants to be rung up."""

    def ring(self) -> None:
        """The time has come. Called once per `set`; may set itself again; must not raise."""


class Alarms:
    """The alarms of one event loop's sleepers, one each. Times are the loop's.

    They ring in a context of nobody's: the timer is not that of the request that happened to set it.
    """

    __slots__ = ("_context", "_due", "_looks_at", "_timer")

    def __init__(self) -> None:
        self._context = Context()
        self._due: dict[Sleeper, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf

    def __len__(self) -> int:
        return len(self._due)

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Ring at that time, and not at the one that was set before."""
        self._due[sleeper] = at
        if at < self._looks_at:
            self._arm(at)

    def call_off(self, sleeper: Sleeper) -> None:
        """Do not ring; nothing happens if no alarm is set."""
        self._due.pop(sleeper, None)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = at
        self._timer = asyncio.get_running_loop().call_at(at + _TICK, self._look, context=self._context)

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        now = asyncio.get_running_loop().time()
        try:
            for sleeper in [sleeper for sleeper, at in self._due.items() if at <= now]:
                if self._due.pop(sleeper, None) is not None:  # one that rang may have called another off
                    sleeper.ring()
        finally:
            if self._due:
                self._arm(min(self._due.values()))
