"""The audit trail: who did what, in which tenant, with what outcome. Recorded at once, written behind the caller.

`record` never waits and never fails: events gather in memory and a single writer takes them to storage in batches, so
the hot path pays for an append. A clean stop writes what is left; an event that storage refuses is written to the log
instead, so it is never silently lost. Arguments, results and secrets may not be recorded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import StorageError
from gateway_proxy.domain.ids import IdSeries
from gateway_proxy.telemetry.logs import get_log
from gateway_proxy.telemetry.request_context import current_request_id

log = get_log(__name__)

FLUSH_SECONDS: Final = 0.5
BATCH: Final = 2000
MAXIMUM_WAITING: Final = 50_000

DetailValue = str | int | float | bool | None


class AuditTrail:
    """The recorder that every room is given. One instance per worker; `run` must be running for events to be kept."""

    def __init__(self, write: Callable[[Sequence[AuditEvent]], Awaitable[None]], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._ids = IdSeries()
        self._waiting: list[AuditEvent] = []
        self._wake = asyncio.Event()
        self._stopping = False

    def record(
        self,
        event: str,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        **detail: DetailValue,
    ) -> None:
        """Note that `event` (noun.verb, such as `tool.called`) happened. Returns at once."""
        entry = AuditEvent(
            id=self._ids.next(),
            tenant_id=tenant_id,
            user_id=user_id,
            event=event,
            at=self._clock.now(),
            request_id=current_request_id(),
            detail=detail,
        )
        self._waiting.append(entry)
        if len(self._waiting) == BATCH:
            self._wake.set()

    async def run(self) -> None:
        """Write batches until `stop` is called, then write what is left. Storage that is down is tried again."""
        while not self._stopping:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.flush()
        await self.flush(last=True)

    def stop(self) -> None:
        """Ask `run` to write the rest and return."""
        self._stopping = True
        self._wake.set()

    async def flush(self, *, last: bool = False) -> None:
        """Write what is waiting. On failure the events are kept for the next time, or logged when there is none.

        What comes while a batch is written waits for the next time, unless it is a batch itself: under load there would
        otherwise be a transaction without a pause, for a few events each.
        """
        has_begun = False
        while self._waiting and (last or not has_begun or len(self._waiting) >= BATCH):
            has_begun = True
            batch = self._waiting[:BATCH]
            try:
                await self._write(batch)
            except StorageError:
                log.warning("audit_write_failed", waiting=len(self._waiting))
                self._give_up_on(self._waiting if last else self._waiting[MAXIMUM_WAITING:])
                return
            del self._waiting[: len(batch)]

    def _give_up_on(self, events: Sequence[AuditEvent]) -> None:
        for entry in events:
            log.error(
                "audit_event_unwritten",
                audit_event=entry.event,
                at=entry.at.isoformat(),
                tenant_id=entry.tenant_id,
                user_id=entry.user_id,
                request_id=entry.request_id,
                detail=dict(entry.detail),
            )
        kept = len(self._waiting) - len(events)
        del self._waiting[kept:]
