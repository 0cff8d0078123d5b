"""Alarms: one timer for many, each rung at its time or called off."""

import asyncio
from contextvars import ContextVar

import uvloop

from gateway_proxy.domain.alarms import Alarms


class Waker:
    """Notes when it rings; with `again` seconds it sets itself once more."""

    def __init__(self, alarms: Alarms, *, again: float | None = None) -> None:
        self._alarms = alarms
        self._again = again
        self.rang: list[float] = []

    def ring(self) -> None:
        """Note it."""
        now = asyncio.get_running_loop().time()
        self.rang.append(now)
        if self._again is not None:
            again, self._again = self._again, None
            self._alarms.set(self, now + again)


async def test_each_rings_at_its_time_whatever_order_they_were_set_in() -> None:
    """Never early; late only by what the loop is."""
    alarms, now = Alarms(), asyncio.get_running_loop().time()
    late, early, middle = (Waker(alarms) for _ in range(3))
    for waker, seconds in ((late, 0.09), (early, 0.03), (middle, 0.06)):
        alarms.set(waker, now + seconds)

    await asyncio.sleep(0.3)

    assert [len(waker.rang) for waker in (early, middle, late)] == [1, 1, 1]
    assert early.rang[0] < middle.rang[0] < late.rang[0]
    assert late.rang[0] >= now + 0.09
    assert len(alarms) == 0


async def test_what_is_called_off_or_put_off_does_not_ring() -> None:
    """Nearly all are called off: replies come in time."""
    alarms, now = Alarms(), asyncio.get_running_loop().time()
    off, put_off = Waker(alarms), Waker(alarms)
    alarms.set(off, now + 0.02)
    alarms.set(put_off, now + 0.02)
    alarms.call_off(off)
    alarms.call_off(off)
    alarms.set(put_off, now + 60)

    await asyncio.sleep(0.1)

    assert (off.rang, put_off.rang, len(alarms)) == ([], [], 1)


async def test_one_that_rings_may_set_itself_again_and_call_others_off() -> None:
    """A slow body is given more time once; an exchange that stops ends others."""
    alarms, now = Alarms(), asyncio.get_running_loop().time()
    again, other = Waker(alarms, again=0.03), Waker(alarms)

    class Canceller:
        def ring(self) -> None:
            alarms.call_off(other)

    alarms.set(Canceller(), now + 0.02)
    alarms.set(other, now + 0.02)
    alarms.set(again, now + 0.01)

    await asyncio.sleep(0.2)

    assert (len(again.rang), other.rang) == (2, [])


async def test_a_time_that_is_past_rings_at_once() -> None:
    """A time-out of nothing is one."""
    alarms = Alarms()
    waker = Waker(alarms)
    alarms.set(waker, asyncio.get_running_loop().time() - 1)
    await asyncio.sleep(0.05)
    assert len(waker.rang) == 1


async def test_an_alarm_rings_for_nobody_in_particular() -> None:
    """House, Logging: the timer is shared, so what rings may not pass for the work of the request that set it."""
    request: ContextVar[str] = ContextVar("request", default="nobody's")
    alarms, rung = Alarms(), asyncio.get_running_loop().create_future()

    class Sleeper:
        def ring(self) -> None:
            rung.set_result(request.get())

    request.set("mine")
    alarms.set(Sleeper(), 0)

    assert await rung == "nobody's"


class CountedAlarms(Alarms):
    """Counts its timers."""

    timers = 0

    def _arm(self, at: float) -> None:
        self.timers += 1
        super()._arm(at)


def test_an_alarm_between_two_milliseconds_is_looked_for_once() -> None:
    """ADR 12: timers of the workers' loop are whole milliseconds; one that is early is not set again at every turn."""

    async def ring_all() -> tuple[list[float], int]:
        """How late they rang, and the timers that it took."""
        alarms, late = CountedAlarms(), []
        for fraction in range(10):
            waker, at = Waker(alarms), asyncio.get_running_loop().time() + 0.01 + fraction / 10_000
            alarms.set(waker, at)
            while not waker.rang:
                await asyncio.sleep(0.001)
            late.append(waker.rang[0] - at)
        return late, alarms.timers

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        late, timers = runner.run(ring_all())

    assert min(late) >= 0
    assert timers == 10
