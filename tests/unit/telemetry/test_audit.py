"""The audit trail's writer: in batches, behind the caller, without losing anything."""

import asyncio
from collections.abc import Sequence

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.telemetry.audit import BATCH, AuditTrail
from tests.support.clock import FakeClock


class Shelf:
    """Storage that can be out of reach, and during whose writes more may happen."""

    def __init__(self) -> None:
        self.batches: list[list[AuditEvent]] = []
        self.is_down = False
        self.meanwhile: list[str] = []
        self.trail = AuditTrail(self.write, FakeClock())

    async def write(self, events: Sequence[AuditEvent]) -> None:
        if self.is_down:
            raise StorageUnavailable
        self.batches.append(list(events))
        if self.meanwhile:
            self.trail.record(self.meanwhile.pop())

    @property
    def names(self) -> list[list[str]]:
        """The events of each batch."""
        return [[each.event for each in batch] for batch in self.batches]


async def test_what_comes_during_a_write_waits_for_the_next() -> None:
    """ADR 0012: under load the writer would never rest, a transaction for every few events."""
    shelf = Shelf()
    shelf.meanwhile = ["tool.third", "tool.second"]
    shelf.trail.record("tool.first")
    await shelf.trail.flush()
    assert shelf.names == [["tool.first"]]
    await shelf.trail.flush()
    assert shelf.names == [["tool.first"], ["tool.second"]]


async def test_a_clean_stop_writes_everything() -> None:
    """Performance rules: audit is batched off the hot path and loses nothing on a clean stop."""
    shelf = Shelf()
    shelf.meanwhile = ["tool.third", "tool.second"]
    running = asyncio.create_task(shelf.trail.run())
    shelf.trail.record("tool.first")
    shelf.trail.stop()
    await running
    assert [name for batch in shelf.names for name in batch] == ["tool.first", "tool.second", "tool.third"]


async def test_a_full_batch_wakes_the_writer() -> None:
    """Performance rules: memory is bounded by writing sooner, not by dropping."""
    shelf = Shelf()
    running = asyncio.create_task(shelf.trail.run())
    for _ in range(BATCH + 1):
        shelf.trail.record("tool.called")
    async with asyncio.timeout(0.4):
        while not shelf.batches:
            await asyncio.sleep(0)
    assert len(shelf.batches[0]) == BATCH
    shelf.trail.stop()
    await running
    assert sum(map(len, shelf.batches)) == BATCH + 1


async def test_events_outlive_a_storage_that_is_down_for_a_while() -> None:
    """Security A3: no event is silently lost."""
    shelf = Shelf()
    shelf.is_down = True
    shelf.trail.record("tool.called")
    await shelf.trail.flush()
    shelf.is_down = False
    await shelf.trail.flush()
    assert shelf.names == [["tool.called"]]
    assert len({event.id for batch in shelf.batches for event in batch}) == 1
