"""Which child lives: one per key, started on demand within caps, ended when idle, restarted with back-off.

Nothing is stored: a runner that starts anew knows no child, and the gateway launches what it needs again.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from gateway_proxy.runner.breaker import Breaker
from gateway_proxy.runner.caches import Cache, Caches
from gateway_proxy.runner.census import TreeSize, kill_stray, take_census
from gateway_proxy.runner.errors import (
    CommandNotAllowed,
    RunnerFull,
    SessionGone,
    StartFailed,
    TenantLimitReached,
)
from gateway_proxy.runner.homes import Homes
from gateway_proxy.runner.instance import Instance
from gateway_proxy.runner.launch import LaunchSpec
from gateway_proxy.runner.stdio_wire import Surroundings
from gateway_proxy.runner.wires import open_wire
from gateway_proxy.telemetry.logs import get_log

MAX_CHILDREN: Final = 200
PROCESSES_PER_CHILD: Final = 256
_EVICTABLE_AFTER: Final = 10.0
_REMEMBERED_SECONDS: Final = 600.0
_REMEMBERED: Final = 1000
_LISTED_LINES: Final = 10
_FAULT_LINES: Final = 20
_STRAY_ROUNDS: Final = 40
_STRAY_PAUSE: Final = 0.1

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a life ended that should not have, in a sentence of ours, and the last lines that it wrote."""

    reason: str
    lines: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Place:
    """Everything about one key: its breaker, its present or last instance. `lock` makes a start happen once.

    `fault` is of the last life that failed, until one is of use.
    """

    key: str
    tenant: str
    breaker: Breaker
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    instance: Instance | None = None
    starting: bool = False
    fault: Fault | None = None
    size: TreeSize = field(default_factory=TreeSize)

    @property
    def living(self) -> Instance | None:
        """The instance, while it may be used."""
        return self.instance if self.instance is not None and self.instance.is_living else None

    @property
    def is_taken(self) -> bool:
        """True while a process of it exists or is about to."""
        return self.starting or (self.instance is not None and not self.instance.wire.has_ended)


@dataclass(slots=True, eq=False)
class Quarters:
    """Where one life of a child is: its home by name, and its use of a cache."""

    name: str
    cache: Cache | None = None


class Children:
    """All children of this runner."""

    def __init__(
        self,
        *,
        clock: Clock,
        homes: Homes,
        path: str,
        caches: Caches | None = None,
        allow_commands: Sequence[str] | None = None,
        max_children: int = MAX_CHILDREN,
    ) -> None:
        self._clock = clock
        self._homes = homes
        self._caches = caches
        self._path = path
        self._allowed = None if allow_commands is None else frozenset(allow_commands)
        self._max_children = max_children
        self._places: dict[str, Place] = {}
        self._closing = False
        self._keeper_lost = False

    async def ensure(self, key: str, spec: LaunchSpec) -> Instance:
        """The living instance of that key, started if need be.

        Raises:
            CommandNotAllowed, TenantLimitReached, RunnerFull, BreakerOpen, StartFailed: See there.
        """
        if (living := self._living(key)) is not None:
            return living
        if spec.transport == "stdio" and self._allowed is not None and spec.command not in self._allowed:
            raise CommandNotAllowed(spec.command or "")
        while True:
            place = self._places.setdefault(key, Place(key, spec.tenant, Breaker(self._clock)))
            async with place.lock:
                if self._places.get(key) is not place:
                    continue  # it was ended and forgotten while we waited
                if place.living is not None:
                    return place.living
                await asyncio.sleep(place.breaker.admit())
                if place.instance is not None:
                    await place.instance.stop()  # two lives of one child must not overlap
                await self._make_room(spec)
                return await self._start(place, spec)

    def find(self, key: str, instance_id: str | None = None) -> Instance:
        """The living instance, of that id if one is given.

        Raises:
            SessionGone: There is none.
        """
        instance = self._living(key)
        if instance is None or (instance_id is not None and instance.id != instance_id):
            raise SessionGone
        return instance

    async def end(self, key: str) -> bool:
        """Stop a child and forget everything about it. False when there is none."""
        place = self._places.get(key)
        if place is None:
            return False
        async with place.lock:
            if place.instance is not None:
                await place.instance.stop()
            if self._places.get(key) is place:
                del self._places[key]
        return True

    async def forget_cache(self, tenant: str, label: str) -> None:
        """That definition is gone, and what its children downloaded is of no use any more."""
        if self._caches is not None:
            await asyncio.to_thread(self._caches.forget, tenant, label)

    async def close(self) -> None:
        """Stop all children at once: SIGTERM, 5 s, SIGKILL; returns when all are reaped."""
        self._closing = True
        instances = [place.instance for place in self._places.values() if place.instance is not None]
        await asyncio.gather(*(instance.stop(at_once=True) for instance in instances))

    def describe(self) -> list[dict[str, Any]]:
        """The status list: living children, and for a while those that ended; of each the last few lines of stderr."""
        return [
            _describe(place, place.instance, lines=_LISTED_LINES)
            for place in self._places.values()
            if place.instance is not None
        ]

    def describe_one(self, key: str) -> dict[str, Any]:
        """The status of one child with all the stderr that is kept.

        Raises:
            SessionGone: There is none, and none that ended lately.
        """
        place = self._places.get(key)
        if place is None or place.instance is None:
            raise SessionGone
        return _describe(place, place.instance, lines=None)

    def find_fault(self, key: str) -> Fault:
        """Why a child does not work, with the last lines of its stderr.

        Raises:
            SessionGone: Nothing is known against it.
        """
        place = self._places.get(key)
        if place is None:
            raise SessionGone
        if place.instance is not None and place.instance.failure is not None:  # it may still be ending
            return _fault_of(place.instance, place.instance.failure)
        if place.fault is None:
            raise SessionGone
        return place.fault

    async def tend(self) -> None:
        """End what is idle, kill what outgrew its limits or lost its keeper, forget what ended long ago."""
        await self._count()
        await self._end_strays()
        idle = [
            place.living
            for place in self._places.values()
            if place.living is not None and place.living.idle_seconds >= place.living.spec.idle_timeout
        ]
        for instance in idle:
            _log.info("runner.child_idle", label=instance.spec.label, tenant=instance.spec.tenant)
        await asyncio.gather(*(instance.stop() for instance in idle))
        self._forget()

    def _living(self, key: str) -> Instance | None:
        place = self._places.get(key)
        return place.living if place is not None else None

    # --- starting -----------------------------------------------------------------------------------------------------

    async def _start(self, place: Place, spec: LaunchSpec) -> Instance:
        self._check_open()
        place.starting = True
        quarters = Quarters(new_id())
        instance: Instance | None = None
        try:
            surroundings = await asyncio.to_thread(self._move_in, quarters, spec)
            instance = Instance(
                quarters.name,
                spec,
                open_wire=lambda *wire: open_wire(*wire, surroundings=surroundings),
                clock=self._clock,
                on_end=lambda ended: self._take_end(place, ended, quarters),
                on_useful=lambda: _take_useful(place),
            )
            await instance.wire.start()
            if instance.wire.has_ended:
                raise StartFailed("it ended right after its start")
        except StartFailed as error:
            place.breaker.record_failure()
            place.fault = Fault(error.reason, ()) if instance is None else _fault_of(instance, error.reason)
            _log.warning("runner.start_failed", label=spec.label, tenant=spec.tenant, reason=error.reason)
            await asyncio.to_thread(self._move_out, quarters)
            raise
        finally:
            place.starting = False
        place.instance = instance
        try:
            self._check_open()
        except StartFailed:
            await instance.stop(at_once=True)
            raise
        _log.info("runner.child_started", label=spec.label, tenant=spec.tenant, pid=instance.wire.pid)
        return instance

    def _move_in(self, quarters: Quarters, spec: LaunchSpec) -> Surroundings:
        home = self._homes.open_home(quarters.name)
        if self._caches is not None and spec.transport == "stdio" and "HOME" not in spec.env:  # its own HOME is kept
            quarters.cache = self._caches.open(spec)
        return Surroundings(self._path, home, {} if quarters.cache is None else quarters.cache.environment)

    def _move_out(self, quarters: Quarters) -> None:
        self._homes.remove_home(quarters.name)
        if quarters.cache is not None:
            quarters.cache.close()

    def _check_open(self) -> None:
        if self._closing:
            raise StartFailed("the runner is shutting down")

    async def _make_room(self, spec: LaunchSpec) -> None:
        """Keep the caps; the child that nobody has used for longest makes way for a new one.

        Ten seconds are enough: clients that open a session for every few calls never say that they left, and to
        refuse them for a minute is worse than to end what an idle session may or may not come back to.
        """
        taken = [place for place in self._places.values() if place.is_taken]
        of_tenant = [place for place in taken if place.tenant == spec.tenant]
        if len(of_tenant) >= spec.max_per_tenant and not await self._evict(of_tenant):
            raise TenantLimitReached(spec.max_per_tenant)
        if len(taken) >= self._max_children and not await self._evict(taken):
            raise RunnerFull(self._max_children)

    async def _evict(self, candidates: Sequence[Place]) -> bool:
        idle = [(place.living.idle_seconds, place) for place in candidates if place.living is not None]
        longest, place = max(idle, key=lambda pair: pair[0], default=(0.0, None))
        if place is None or place.living is None or longest < _EVICTABLE_AFTER:
            return False
        _log.info("runner.child_evicted", label=place.living.spec.label, tenant=place.tenant)
        await place.living.stop()
        return True

    # --- ending -------------------------------------------------------------------------------------------------------

    def _take_end(self, place: Place, instance: Instance, quarters: Quarters) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._move_out, quarters)
        if instance.wire.keeper_pid is not None and instance.wire.exit_status is None:
            self._keeper_lost = True
        if instance.failure is None or place.instance is not instance:
            return  # it was told to end, or never began: a failed start is counted where it was tried
        place.fault = _fault_of(instance, instance.failure)
        if not instance.was_useful:
            place.breaker.record_failure()
        _log.warning(
            "runner.child_failed",
            label=instance.spec.label,
            tenant=instance.spec.tenant,
            reason=instance.failure,
            failures=place.breaker.failures,
        )

    async def _count(self) -> None:
        places = {
            place.instance.wire.keeper_pid: place
            for place in self._places.values()
            if place.instance is not None and place.instance.wire.keeper_pid and not place.instance.wire.has_ended
        }
        if places:
            census = await asyncio.to_thread(take_census, os.getpid(), [pid for pid in places if pid])
            for keeper, size in census.trees.items():
                place = places[keeper]
                place.size = size
                if size.processes > PROCESSES_PER_CHILD and place.instance is not None:
                    place.instance.fail("it started too many processes")

    async def _end_strays(self) -> None:
        """After a keeper was lost: end what it kept, level by level, since what a killed parent leaves comes to us.

        A keeper that is just being started is unknown to us for a moment, so only who is found twice is a stray.
        """
        suspects: frozenset[int] = frozenset()
        for _ in range(_STRAY_ROUNDS if self._keeper_lost else 0):
            keepers = [
                place.instance.wire.keeper_pid
                for place in self._places.values()
                if place.instance is not None and place.instance.wire.keeper_pid
            ]
            census = await asyncio.to_thread(take_census, os.getpid(), keepers)
            if not census.strays:
                self._keeper_lost = False
                return
            starting = any(place.starting for place in self._places.values())
            for stray in () if starting else suspects.intersection(census.strays):
                kill_stray(stray)
            suspects = frozenset(census.strays)
            await asyncio.sleep(_STRAY_PAUSE)

    def _forget(self) -> None:
        """Drop places that ended long ago; their failures are too old to matter."""
        now = self._clock.monotonic()
        ended = [place for place in self._places.values() if not place.is_taken and not place.lock.locked()]
        ended.sort(key=_last_heard_of)
        surplus = len(self._places) - _REMEMBERED
        for index, place in enumerate(ended):
            if index < surplus or now - _last_heard_of(place) > _REMEMBERED_SECONDS:
                del self._places[place.key]


def _take_useful(place: Place) -> None:
    place.breaker.record_success()
    place.fault = None


def _fault_of(instance: Instance, reason: str) -> Fault:
    return Fault(reason, tuple(instance.wire.log)[-_FAULT_LINES:])


def _last_heard_of(place: Place) -> float:
    used = place.instance.last_used if place.instance is not None else 0.0
    return max(used, place.breaker.last_failure)


def _describe(place: Place, instance: Instance, *, lines: int | None) -> dict[str, Any]:
    return {
        "key": place.key,
        "label": instance.spec.label,
        "tenant": place.tenant,
        "transport": instance.spec.transport,
        "breaker": place.breaker.state,
        "failures": place.breaker.failures,
        "processes": place.size.processes,
        "resident_bytes": place.size.resident_bytes,
        **instance.describe(),
        "stderr": list(instance.wire.log)[-lines if lines else None :],
    }
