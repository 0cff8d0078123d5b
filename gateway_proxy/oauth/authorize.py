"""The authorization endpoint (RFC 6749 §3.1): whom to ask, what was answered, where the answer goes.

An anonymous GET shows a page and writes nothing. A POST counts only with its CSRF token, in the browser and under the
account that saw the form. No CORS, no HEAD, nothing that a page of somebody else could start.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    GatewayError,
)
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.oauth_errors import (
    ConsentDenied,
    ConsentNeeded,
    ConsentStale,
    ParameterInvalid,
    SignInNeeded,
)
from gateway_proxy.domain.tenant import User
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.oauth.authorization_request import (
    AuthorizationRequest,
    AuthorizationRequests,
    ClientPageError,
    RedirectableError,
)
from gateway_proxy.oauth.code_issuance import Consent, issue_code, list_covered_tenants
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.consent_transaction import ConsentTransactions
from gateway_proxy.oauth.endpoint import address_of
from gateway_proxy.oauth.error_pages import ErrorPage, leaving_page, to_page
from gateway_proxy.oauth.error_redirects import must_ask_before_leaving
from gateway_proxy.oauth.parameters import read_form, read_parameters, read_query
from gateway_proxy.oauth.redirect_uris import is_loopback, redirect_host
from gateway_proxy.oauth.redirects import answer_uri, redirect_back
from gateway_proxy.oauth.signin import SignInPage, authorize_step
from gateway_proxy.oauth.vocabulary import CONSENT_PURPOSE, AuditTrail, OAuthConfig
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.users import list_memberships

ALWAYS_ASKED: Final = frozenset({"consent", "select_account"})  # the consent page is where accounts are switched


@dataclass(frozen=True)
class Authorize:
    """GET and POST /oauth/authorize."""

    config: OAuthConfig
    database: Database
    clock: Clock
    limiter: Limiter
    audit: AuditTrail
    requests: AuthorizationRequests
    transactions: ConsentTransactions
    sessions: BrowserSessions
    csrf: Csrf
    pages: Pages
    sign_in_page: SignInPage
    consent_page: ConsentPage

    async def handle(self, request: Request) -> Response:
        """Ask, or take the answer. Every refusal is a page or a redirect to the client, never JSON."""
        config = self.config
        try:
            await self.limiter.hit(
                "authorize", address_of(request), limit=config.authorize_limit, window=config.limit_window
            )
            response = await (self._take_answer(request) if request.method == "POST" else self._ask(request))
        except RedirectableError as refused:
            response = self._report(request, refused)
        except ClientPageError as refused:
            return self._refuse(request, refused.reason)
        except GatewayError as reason:
            return self._refuse(request, reason)
        if response.status_code == HTTPStatus.SEE_OTHER:  # the client has its answer
            self.sessions.end_reauthentication(request, response)
        return response

    async def _ask(self, request: Request) -> Response:
        query = read_query(request)
        parameters = read_parameters(query.encode("ascii"))
        authorization = await self.requests.validate(parameters, address=address_of(request))
        user = await self.sessions.current_user(request)
        if user is None or self._must_reauthenticate(request, authorization, query):
            if "none" in authorization.prompt:
                raise _redirectable(SignInNeeded(), authorization)
            return self.sign_in_page.render(
                request,
                query=query,
                client_name=authorization.client.name,
                redirect_uri=authorization.redirect_uri,
                user=user,
            )
        if not _must_ask(authorization):
            covered = await self.database.read(list_covered_tenants, user_id=user.id, authorization=authorization)
            if len(covered) == 1:
                consent = Consent(authorization, user.id, covered[0], new_id(), is_on_record=True)
                return await self._send_code(consent)
        if "none" in authorization.prompt:
            raise _redirectable(ConsentNeeded(), authorization)
        return await self._show_consent(request, user, authorization, query)

    def _must_reauthenticate(self, request: Request, authorization: AuthorizationRequest, query: str) -> bool:
        """Whether the password has to be asked for although there is a session (OpenID Connect Core §3.1.2.1)."""
        max_age = authorization.max_age
        is_too_old = max_age is not None and (not max_age or self.sessions.is_older_than(request, max_age))
        if "login" not in authorization.prompt and not is_too_old:
            return False
        return not self.sessions.is_reauthenticated(request, authorize_step(query).path)

    async def _show_consent(
        self, request: Request, user: User, authorization: AuthorizationRequest, query: str
    ) -> Response:
        binding = self.sessions.binding(request)
        return self.consent_page.render(
            request,
            user=user,
            authorization=authorization,
            memberships=await self.database.read(list_memberships, user_id=user.id),
            transaction=self.transactions.sign(query=query, user_id=user.id, binding=binding),
        )

    async def _take_answer(self, request: Request) -> Response:
        form = await read_form(request)
        self.csrf.verify(request, form.values, CONSENT_PURPOSE)
        user = await self.sessions.current_user(request)
        if user is None:
            raise ConsentStale
        transaction = self.transactions.get(
            form.get("transaction"), user_id=user.id, binding=self.sessions.binding(request)
        )
        parameters = read_parameters(transaction.query.encode("ascii"))
        authorization = await self.requests.validate(parameters, address=address_of(request))
        decision = form.get("decision")
        if decision == "deny":
            self.audit.record("consent.denied", user_id=user.id, client_id=authorization.client.id)
            raise _redirectable(ConsentDenied(), authorization)
        if decision != "approve":
            raise ParameterInvalid("decision", "approve or deny")
        consent = Consent(authorization, user.id, form.get("tenant_id"), transaction.id)
        response = await self._send_code(consent)
        self.audit.record(
            "consent.given",
            tenant_id=consent.tenant_id,
            user_id=user.id,
            client_id=authorization.client.id,
            redirect_host=redirect_host(authorization.redirect_uri),
            scope=" ".join(authorization.scope),
        )
        return response

    async def _send_code(self, consent: Consent) -> Response:
        authorization = consent.authorization
        code = await self.database.run(
            issue_code, tenant_id=consent.tenant_id, consent=consent, config=self.config, clock=self.clock
        )
        self.audit.record(
            "code.issued", tenant_id=consent.tenant_id, user_id=consent.user_id, client_id=authorization.client.id
        )
        fields = [("code", code), ("state", authorization.state)]
        return redirect_back(authorization.redirect_uri, fields, issuer=self.config.issuer)

    def _report(self, request: Request, refused: RedirectableError) -> Response:
        fields = [("error", refused.error), ("error_description", refused.description), ("state", refused.state)]
        uri = refused.redirect_uri
        if not must_ask_before_leaving(request, refused.client, uri):
            return redirect_back(uri, fields, issuer=self.config.issuer)
        leave = answer_uri(uri, fields, issuer=self.config.issuer)
        page = leaving_page(refused.reason, host=redirect_host(uri))
        return self._show(request, page, leave=leave, host=redirect_host(uri))

    def _refuse(self, request: Request, reason: GatewayError) -> Response:
        page = to_page(reason)
        return self.pages.refuse(request, reason) if page is None else self._show(request, page)

    def _show(self, request: Request, page: ErrorPage, **leaving: str) -> Response:
        context = {"title": page.title, "message": page.message, "next_step": page.next_step, **leaving}
        return self.pages.render(request, "error.html", context, status=page.status)


def _must_ask(authorization: AuthorizationRequest) -> bool:
    """Whether consent on record is not enough (B4): the client asks for it, or any local program could claim its id."""
    is_claimable = authorization.client.kind == "metadata_document" and is_loopback(authorization.redirect_uri)
    return is_claimable or bool(ALWAYS_ASKED & authorization.prompt)


def _redirectable(
    reason: SignInNeeded | ConsentNeeded | ConsentDenied, authorization: AuthorizationRequest
) -> RedirectableError:
    return RedirectableError(
        reason, client=authorization.client, redirect_uri=authorization.redirect_uri, state=authorization.state
    )
