"""GET /account: who I am, my teams, the apps I allowed and my tokens. Its forms are handled by the modules beside."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.forms import Form, read_form
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.permissions import permission_titles, permissions_of
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.principal import ROLE_SCOPES, Scope
from gateway_proxy.domain.tenant import Membership, User
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import list_grants
from gateway_proxy.storage.sql.personal_tokens import list_personal_tokens
from gateway_proxy.storage.sql.users import list_memberships

SIGN_OUT_PURPOSE: Final = "sign-out"
FORM_PURPOSE: Final = "personal-token-form"
LIFETIMES: Final = ((7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "1 year"))
TOKEN_SCOPES: Final = (Scope.MCP, Scope.OPENAI, Scope.ADMIN)
DONE: Final[Mapping[str, str]] = {
    "app-revoked": "The app no longer has access.",
    "token-revoked": "The token no longer works.",
    "password-changed": "Your password is changed, and you are signed out everywhere else.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong with a form, and the id of the field that it is about; empty when it is about none."""

    text: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What stands in the form for a new token: the defaults, or what was filled in before it was refused."""

    name: str = ""
    days: str = "90"
    tenant_id: str = ""
    scopes: tuple[str, ...] = (Scope.MCP, Scope.OPENAI)


@dataclass(frozen=True, slots=True)
class AppRow:
    """One grant, as it is listed."""

    grant_id: str
    tenant_id: str
    tenant_name: str
    client_name: str
    redirect_host: str
    permissions: str
    since: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One personal token, as it is listed. Its secret is not known here."""

    token_id: str
    tenant_id: str
    tenant_name: str
    name: str
    permissions: str
    expires_at: datetime
    is_expired: bool


@dataclass(frozen=True)
class AccountPage:
    """The page and the rules that all its forms share: signed in, ours, this user's."""

    pages: Pages
    sessions: BrowserSessions
    csrf: Csrf
    signing: Signing
    database: Database
    clock: Clock

    async def handle(self, request: Request) -> Response:
        """Show the page; a visitor who is not signed in goes to sign in first."""
        return await self.pages.guard(self._get)(request)

    async def _get(self, request: Request) -> Response:
        user = await self.sessions.current_user(request)
        if user is None:
            return self.pages.redirect("/sign-in")
        return await self.render(request, user, done=DONE.get(request.query_params.get("done", "")))

    async def handle_form(
        self, request: Request, act: Callable[[Request, User, Form], Awaitable[Response]]
    ) -> Response:
        """Run `act` for a form of this page: the user is signed in, the form is ours and was shown to this user."""

        async def guarded(request: Request) -> Response:
            user = await self.sessions.current_user(request)
            if user is None:
                return self.pages.redirect("/sign-in")
            form = await read_form(request)
            self.csrf.verify(request, form, _purpose(user))
            return await act(request, user, form)

        return await self.pages.guard(guarded)(request)

    async def render(
        self,
        request: Request,
        user: User,
        *,
        done: str | None = None,
        problem: Problem | None = None,
        token_form: TokenForm = TokenForm(),
        status: int = 200,
    ) -> Response:
        """The page, with what was just done or what was wrong with a form."""
        memberships = await self.database.read(list_memberships, user_id=user.id)
        scopes = frozenset[str]().union(*(ROLE_SCOPES[membership.role] for membership in memberships))
        context = {
            "user": user,
            "done": done,
            "problem": problem,
            "token_form": token_form,
            "memberships": memberships,
            "grants": await self._list_apps(user, memberships),
            "tokens": await self._list_tokens(user, memberships),
            "permissions": permissions_of(scopes.intersection(TOKEN_SCOPES)),
            "lifetimes": LIFETIMES,
            "form_id": self.signing.sign(FORM_PURPOSE, new_id()),
            "csrf": self.csrf.token(request, _purpose(user)),
            "sign_out_csrf": self.csrf.token(request, SIGN_OUT_PURPOSE),
        }
        return self.pages.render(request, "account.html", context, status=status)

    async def _list_apps(self, user: User, memberships: list[Membership]) -> list[AppRow]:
        rows = []
        for membership in memberships:
            tenant = membership.tenant
            grants = await self.database.read(list_grants, tenant_id=tenant.id, user_id=user.id)
            for grant, client_name in grants:
                rows.append(
                    AppRow(
                        grant_id=grant.id,
                        tenant_id=tenant.id,
                        tenant_name=tenant.name,
                        client_name=client_name,
                        redirect_host=grant.redirect_host,
                        permissions=permission_titles(grant.scope),
                        since=grant.created_at,
                    )
                )
        return rows

    async def _list_tokens(self, user: User, memberships: list[Membership]) -> list[TokenRow]:
        now = self.clock.now()
        rows = []
        for membership in memberships:
            tenant = membership.tenant
            for token in await self.database.read(list_personal_tokens, tenant_id=tenant.id, user_id=user.id):
                if token.revoked_at is None:
                    titles = permission_titles(token.scope)
                    is_expired = token.expires_at <= now
                    rows.append(
                        TokenRow(token.id, tenant.id, tenant.name, token.name, titles, token.expires_at, is_expired)
                    )
        return rows


def _purpose(user: User) -> str:
    return f"account.{user.id}"
