"""POST /account/grants/revoke: people take an app's access back; all its tokens end with it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.forms import Form
from gateway_proxy.console.account import AccountPage
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.tenant import User
from gateway_proxy.storage.sql.grants import revoke_grant
from gateway_proxy.telemetry.audit import AuditTrail


@dataclass(frozen=True)
class RevokeApp:
    """Revokes a grant of the user's own."""

    account: AccountPage
    audit: AuditTrail
    announce_revocation: Callable[[], Awaitable[None]]

    async def handle(self, request: Request) -> Response:
        """Revoke it and go back to the account page."""
        return await self.account.handle_form(request, self._revoke)

    async def _revoke(self, request: Request, user: User, form: Form) -> Response:
        tenant_id, grant_id = form.get("tenant_id"), form.get("grant_id")
        now = self.account.clock.now()
        is_revoked = await self.account.database.run(
            revoke_grant, tenant_id=tenant_id, user_id=user.id, grant_id=grant_id, now=now
        )
        if not is_revoked:
            raise NotFound("grant", grant_id)
        await self.announce_revocation()
        self.audit.record("grant.revoked", tenant_id=tenant_id, user_id=user.id, grant_id=grant_id)
        return self.account.pages.redirect("/account?done=app-revoked")
