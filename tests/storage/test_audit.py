"""The audit trail on disk, on both databases."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.ids import new_id
from gateway_proxy.storage.sql.audit import add_audit_events, list_audit_events, list_platform_audit_events
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START


def an_event(
    tenant_id: str | None, seconds: float = 0, detail: Mapping[str, str | int | None] | None = None
) -> AuditEvent:
    """Something that happened."""
    at = START + timedelta(seconds=seconds)
    return AuditEvent(new_id(), tenant_id, None, "tool.called", at, "request-1", detail or {"name": "calc__add"})


async def test_events_are_listed_page_by_page_newest_first(database: Database) -> None:
    """Security A3; many events share an instant."""
    events = [an_event("acme", seconds=number // 3) for number in range(10)]
    await database.run(add_audit_events, events=[*events, an_event("beta"), an_event(None)])
    expected = sorted(events, key=lambda event: (event.at, event.id), reverse=True)
    seen: list[AuditEvent] = []
    while page := await database.read(
        list_audit_events, tenant_id="acme", limit=4, before=seen[-1].id if seen else None
    ):
        seen += page
    assert seen == expected


async def test_events_of_no_tenant_are_the_operators(database: Database) -> None:
    """Security T2: a tenant sees its own only."""
    mine, platform = an_event("acme"), an_event(None)
    await database.run(add_audit_events, events=[mine, platform])
    assert await database.read(list_audit_events, tenant_id="acme", limit=10) == [mine]
    assert await database.read(list_platform_audit_events, limit=10) == [platform]
    with pytest.raises(NotFound):
        await database.read(list_audit_events, tenant_id="acme", limit=10, before=platform.id)


async def test_a_batch_that_is_written_twice_is_there_once(database: Database) -> None:
    """Audit trail: after a lost answer the writer tries again."""
    events = [an_event("acme", detail={"ms": 3, "error": None}) for _ in range(3)]
    await database.run(add_audit_events, events=events[:2])
    await database.run(add_audit_events, events=events)
    await database.run(add_audit_events, events=[])
    assert len(await database.read(list_audit_events, tenant_id="acme", limit=10)) == 3
