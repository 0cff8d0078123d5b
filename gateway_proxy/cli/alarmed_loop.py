"""The event loop as a connection of ours sees it: timers that are nearly always cancelled cost an alarm, not a timer.

The server sets one after every answer, for the end of the keep-alive time, and cancels it with the next request.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from gateway_proxy.domain.alarms import Alarms

_WRAPPERS: Final[WeakKeyDictionary[object, "AlarmedLoop"]] = WeakKeyDictionary()


class AlarmedLoop:
    """Wraps a loop; one wrapper per server, so that all its connections share a timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarms = Alarms()
        self.create_task = loop.create_task
        self.call_soon = loop.call_soon
        self.time = loop.time

    @classmethod
    def around(cls, loop: asyncio.AbstractEventLoop, server: object) -> asyncio.AbstractEventLoop:
        """The wrapper of the loop that a server runs in, as protocols want to have it."""
        wrapper = _WRAPPERS.get(server)
        if wrapper is None:
            wrapper = _WRAPPERS[server] = cls(loop)
        return cast(asyncio.AbstractEventLoop, wrapper)

    def call_later(self, delay: float, callback: Callable[[], object]) -> "Alarm":
        """As the loop's own, for callbacks without arguments."""
        alarm = Alarm(self._alarms, callback)
        self._alarms.set(alarm, self.time() + delay)
        return alarm


class Alarm:
    """What can be cancelled."""

    __slots__ = ("_alarms", "_callback")

    def __init__(self, alarms: Alarms, callback: Callable[[], Any]) -> None:
        self._alarms = alarms
        self._callback = callback

    def ring(self) -> None:
        """The time has come."""
        self._callback()

    def cancel(self) -> None:
        """It is not to ring."""
        self._alarms.call_off(self)
