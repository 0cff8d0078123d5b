"""What every edit at run time has in common: whose it is, where it may point, how often, and its row in the trail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.backend import Origin
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import AddressForbidden, ConnectFailed
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.policy import origin_of
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import audit
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.telemetry.request_context import current_request_id

EDITS_PER_MINUTE: Final = 60

Announce = Callable[[str], Awaitable[None]]
"""Tenant id → every worker looks anew. Never fails."""


def origin_for(ctx: TenantContext) -> Origin:
    """Whose definitions this caller's are."""
    return "platform" if ctx.principal.is_platform else "tenant"


@dataclass(frozen=True)
class EditMeans:
    """What every edit is made with: where it is stored, sealed under what, when, how often, and who hears of it."""

    database: Database
    keyring: Keyring
    clock: Clock
    limiter: Limiter
    announce: Announce

    async def count(self, ctx: TenantContext, noun: str) -> None:
        """Count one more edit of this kind in the tenant.

        Raises:
            RateLimited: The tenant edits too often.
        """
        await self.limiter.hit(f"{noun}-edits", ctx.tenant.id, limit=EDITS_PER_MINUTE, window=60.0)


async def find_address_fault(guard: EgressGuard, url: str, *, origin: Origin, noun: str) -> str | None:
    """Why a definition of this origin may not name the URL. A tenant may name public addresses and what is allowed.

    A name that does not resolve is no fault of the definition: whoever connects says so.
    """
    try:
        await guard.resolve(url, allowed_origin=origin_of(url) if origin != "tenant" else None)
    except AddressForbidden as error:
        if origin != "tenant":
            return error.reason
        return f"{error.reason}; only the operator may define a {noun} there, or allow it (GATEWAY_EGRESS_ALLOW)"
    except ConnectFailed:
        return None
    return None


def record_edit(session: Session, ctx: TenantContext, event: str, now: datetime, **detail: str) -> None:
    """A row of the audit trail in the transaction of the change itself. Names only."""
    is_platform = ctx.principal.is_platform
    detail |= {"by": "platform key" if is_platform else "administrator"}
    user_id = None if is_platform else ctx.principal.user_id
    entry = AuditEvent(new_id(), ctx.tenant.id, user_id, event, now, current_request_id(), detail)
    audit.add_audit_events(session, events=[entry])
