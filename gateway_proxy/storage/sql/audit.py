"""The audit trail on disk: rows are added and listed, never changed and never removed here (security A3)."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, ColumnElement, RowMapping, Text, and_, bindparam, cast, column, func, or_, select
from sqlalchemy.orm import Session

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.storage.sql.tables import audit_events
from gateway_proxy.storage.sql.upsert import insert_for

_RECORD: Final = (
    func.json_to_recordset(cast(bindparam("events", type_=Text), JSON))
    .table_valued(*(column(each.name, each.type) for each in audit_events.columns))
    .render_derived(name="event", with_types=True)
)
"""A batch as one parameter: with one per value, the driver cost more than the call that the row speaks of."""


def add_audit_events(session: Session, *, events: Sequence[AuditEvent]) -> None:
    """Add events. One that is there already is left as it is: a writer that lost the answer may try again."""
    if not events:
        return
    statement = insert_for(session, audit_events).on_conflict_do_nothing()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(statement.from_select(list(_RECORD.c.keys()), select(_RECORD)), {"events": _json_of(events)})
    else:
        session.execute(statement, [_values(e) for e in events])


def list_audit_events(session: Session, *, tenant_id: str, limit: int, before: str | None = None) -> list[AuditEvent]:
    """List a tenant's events, the newest first. `before` is the id of the last event of the page before.

    Raises:
        NotFound: `before` is no event of this tenant.
    """
    return _list(session, audit_events.c.tenant_id == tenant_id, limit, before)


def list_platform_audit_events(session: Session, *, limit: int, before: str | None = None) -> list[AuditEvent]:
    """List the events that belong to no tenant, such as failed sign-ins, the newest first. For the operator only.

    Raises:
        NotFound: `before` is no such event.
    """
    return _list(session, audit_events.c.tenant_id.is_(None), limit, before)


def _list(session: Session, owned: ColumnElement[bool], limit: int, before: str | None) -> list[AuditEvent]:
    statement = select(audit_events).where(owned).order_by(audit_events.c.at.desc(), audit_events.c.id.desc())
    if before is not None:
        last = session.execute(select(audit_events.c.at).where(owned, audit_events.c.id == before)).scalar()
        if last is None:
            raise NotFound("audit event", before)
        older = and_(audit_events.c.at == last, audit_events.c.id < before)
        statement = statement.where(or_(audit_events.c.at < last, older))
    return [_event_of(row) for row in session.execute(statement.limit(limit)).mappings()]


def _json_of(events: Sequence[AuditEvent]) -> str:
    return msgspec.json.encode(events).decode()


def _values(event: AuditEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "user_id": event.user_id,
        "event": event.event,
        "at": event.at,
        "request_id": event.request_id,
        "detail": dict(event.detail),
    }


def _event_of(row: RowMapping) -> AuditEvent:
    return AuditEvent(
        id=row["id"],
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        event=row["event"],
        at=row["at"],
        request_id=row["request_id"],
        detail=row["detail"],
    )
