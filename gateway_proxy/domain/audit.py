"""The audit trail's one noun. What may be recorded, and when, is decided where it happens, not here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class AuditEvent:
    """Something that happened: `event` is noun.verb (`tool.called`). Names and numbers only, never a secret or a body.

    `tenant_id` None is the platform itself (a failed sign-in, a registration); `user_id` None is nobody known. Not
    frozen: one is made for every call, and to freeze seven fields costs more than all else about it (ADR 12).
    """

    id: str
    tenant_id: str | None
    user_id: str | None
    event: str
    at: datetime
    request_id: str | None = None
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
