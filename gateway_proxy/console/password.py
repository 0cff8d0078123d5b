"""POST /account/password: people change their password, with the old one in hand."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.forms import Form
from gateway_proxy.console.account import AccountPage, Problem
from gateway_proxy.domain.errors import PasswordUnacceptable, SignInRefused
from gateway_proxy.domain.tenant import User
from gateway_proxy.storage.sql.browser_sessions import revoke_browser_sessions
from gateway_proxy.storage.sql.users import set_password_hash
from gateway_proxy.telemetry.audit import AuditTrail


@dataclass(frozen=True)
class ChangePassword:
    """Sets a new password and signs the user out everywhere else."""

    account: AccountPage
    authenticator: Authenticator
    hasher: PasswordHasher
    audit: AuditTrail

    async def handle(self, request: Request) -> Response:
        """Change it and go back to the account page, or say what was wrong."""
        return await self.account.handle_form(request, self._change)

    async def _change(self, request: Request, user: User, form: Form) -> Response:
        new = form.get("new_password")
        if new != form.get("repeated_password"):
            return await self._refuse(request, user, "the two new passwords are not the same", field="repeated")
        address = request.client.host if request.client is not None else None
        try:
            await self.authenticator.authenticate(
                user.email,
                form.get("current_password"),
                address=address,
                device=self.account.sessions.devices.find(request, user.email),
            )
            password_hash = await self.hasher.hash(new)
        except SignInRefused:
            return await self._refuse(request, user, "the current password is not right", field="current")
        except PasswordUnacceptable as unacceptable:
            return await self._refuse(
                request, user, f"it must have {unacceptable.minimum} characters or more", field="new"
            )
        database = self.account.database
        await database.run(set_password_hash, user_id=user.id, password_hash=password_hash)
        kept = self.account.sessions.find_session_digest(request)
        await database.run(revoke_browser_sessions, user_id=user.id, keep=kept, now=self.account.clock.now())
        self.audit.record("password.changed", user_id=user.id)
        return self.account.pages.redirect("/account?done=password-changed")

    async def _refuse(self, request: Request, user: User, fault: str, *, field: str) -> Response:
        problem = Problem(f"Your password was not changed: {fault}.", field)
        return await self.account.render(request, user, problem=problem, status=400)
