"""POST /account/tokens and /account/tokens/revoke: people make and take back their own tokens."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.forms import Form
from gateway_proxy.browser.permissions import permission_titles
from gateway_proxy.console.account import FORM_PURPOSE, LIFETIMES, TOKEN_SCOPES, AccountPage, Problem, TokenForm
from gateway_proxy.domain.errors import AlreadyExists, FormInvalid, NotFound
from gateway_proxy.domain.ids import new_secret
from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.domain.principal import ROLE_SCOPES
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Membership, User
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.storage.sql.personal_tokens import (
    add_personal_token,
    list_personal_tokens,
    revoke_personal_token,
)
from gateway_proxy.storage.sql.users import find_membership
from gateway_proxy.telemetry.audit import AuditTrail

FORM_LIFETIME: Final = timedelta(hours=12)
MAXIMUM_NAME: Final = 100
MADE_PER_HOUR: Final = 30
FIELD_IDS: Final = {
    "Name": "token-name",
    "Expires in": "token-days",
    "Team": "token-team",
    "Permissions": "token-scope",
}
SENT_BEFORE: Final = (
    "This form was sent before, and the token was shown then. If you lost it, revoke it and make another."
)


@dataclass(frozen=True)
class CreatePersonalToken:
    """Makes a token and shows its secret, once."""

    account: AccountPage
    limiter: Limiter
    audit: AuditTrail
    public_url: str

    async def handle(self, request: Request) -> Response:
        """Answer the form with the page that shows the secret, or with the account page and what was wrong."""
        return await self.account.handle_form(request, self._create)

    async def _create(self, request: Request, user: User, form: Form) -> Response:
        try:
            membership = await self._read_membership(user, form)
            token = self._read_token(membership, form)
        except FormInvalid as invalid:
            text = f"The token was not made: {invalid.field} {invalid.fault}."
            problem = Problem(text, FIELD_IDS.get(invalid.field, ""))
            return await self.account.render(request, user, problem=problem, token_form=_filled_in(form), status=400)
        await self.limiter.hit("personal-token", user.id, limit=MADE_PER_HOUR, window=3600)
        secret = new_secret("gw_pat_")
        try:
            await self.account.database.run(
                add_personal_token, tenant_id=token.tenant_id, digest=digest_of(secret), token=token
            )
        except AlreadyExists:
            return await self.account.render(request, user, problem=Problem(SENT_BEFORE), status=409)
        self.audit.record(
            "personal_token.created", tenant_id=token.tenant_id, user_id=user.id, token_id=token.id, scope=token.scope
        )
        context = {
            "name": token.name,
            "secret": secret,
            "tenant_name": membership.tenant.name,
            "permissions": permission_titles(token.scope),
            "expires_at": token.expires_at,
            "mcp_url": f"{self.public_url}/mcp",
            "openai_url": f"{self.public_url}/v1",
        }
        return self.account.pages.render(request, "token_created.html", context)

    async def _read_membership(self, user: User, form: Form) -> Membership:
        tenant_id = form.get("tenant_id")
        membership = await self.account.database.read(find_membership, tenant_id=tenant_id, user_id=user.id)
        if membership is None:
            raise FormInvalid("Team", "must be one of yours")
        return membership

    def _read_token(self, membership: Membership, form: Form) -> PersonalToken:
        """The token that the form describes. Its id comes from the form, so that a form sent twice makes one token."""
        token_id = self.account.signing.find(FORM_PURPOSE, form.get("form_id"), max_age=FORM_LIFETIME)
        if token_id is None:
            raise FormInvalid("The form", "is too old; fill it in again")
        name = " ".join(form.get("name").split())
        if not 1 <= len(name) <= MAXIMUM_NAME or not name.isprintable():
            raise FormInvalid("Name", f"must have 1 to {MAXIMUM_NAME} printable characters")
        days = next((days for days, _ in LIFETIMES if str(days) == form.get("days")), None)
        if days is None:
            raise FormInvalid("Expires in", f"must be one of {', '.join(str(days) for days, _ in LIFETIMES)} days")
        now = self.account.clock.now()
        return PersonalToken(
            id=token_id,
            tenant_id=membership.tenant.id,
            user_id=membership.user_id,
            name=name,
            scope=_read_scope(membership, form.get_all("scope")),
            created_at=now,
            expires_at=now + timedelta(days=days),
            last_used_at=None,
            revoked_at=None,
        )


@dataclass(frozen=True)
class RevokePersonalToken:
    """Takes a token of one's own back."""

    account: AccountPage
    audit: AuditTrail
    announce_revocation: Callable[[], Awaitable[None]]

    async def handle(self, request: Request) -> Response:
        """Revoke it and go back to the account page."""
        return await self.account.handle_form(request, self._revoke)

    async def _revoke(self, request: Request, user: User, form: Form) -> Response:
        tenant_id, token_id = form.get("tenant_id"), form.get("token_id")
        database = self.account.database
        own = await database.read(list_personal_tokens, tenant_id=tenant_id, user_id=user.id)
        if token_id not in {token.id for token in own}:
            raise NotFound("personal token", token_id)
        now = self.account.clock.now()
        if await database.run(revoke_personal_token, tenant_id=tenant_id, token_id=token_id, now=now):
            await self.announce_revocation()
            self.audit.record("personal_token.revoked", tenant_id=tenant_id, user_id=user.id, token_id=token_id)
        return self.account.pages.redirect("/account?done=token-revoked")


def _filled_in(form: Form) -> TokenForm:
    return TokenForm(
        form.get("name")[:MAXIMUM_NAME], form.get("days"), form.get("tenant_id"), scopes=form.get_all("scope")
    )


def _read_scope(membership: Membership, chosen: Sequence[str]) -> str:
    allowed = [scope for scope in TOKEN_SCOPES if scope in ROLE_SCOPES[membership.role]]
    if not chosen:
        raise FormInvalid("Permissions", "must have at least one choice")
    if not set(chosen) <= set(allowed):
        raise FormInvalid("Permissions", f"must be among those of your role in this team: {', '.join(allowed)}")
    return " ".join(scope for scope in allowed if scope in chosen)
