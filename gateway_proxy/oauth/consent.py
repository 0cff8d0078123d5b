"""The consent page: who asks, where the answer goes, for what, in which team, and as whom. Only a page.

What the answer means is decided in `authorize`; nothing is recorded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.content_security import form_action_of
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.next_step import NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.permissions import permissions_of
from gateway_proxy.domain.tenant import Membership, User
from gateway_proxy.oauth.authorization_request import AuthorizationRequest
from gateway_proxy.oauth.redirect_uris import is_loopback, redirect_host
from gateway_proxy.oauth.signin import AFTER_SIGN_IN, SIGN_OUT_PURPOSE, authorize_step
from gateway_proxy.oauth.vocabulary import CONSENT_PURPOSE


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes, for a person to judge: the one thing about a client that it cannot make up."""

    host: str
    explanation: str

    @classmethod
    def of(cls, redirect_uri: str) -> "Destination":
        """The destination of a validated redirect URI."""
        host = redirect_host(redirect_uri)
        if is_loopback(redirect_uri):
            return cls(host, "A program on this computer. Go on only if you have just started to connect it.")
        if urlsplit(redirect_uri).scheme != "https":
            return cls(host, "An app on this device. Go on only if you have just started to connect it.")
        return cls(host, "Go on only if you know this site and have just come from it.")


@dataclass(frozen=True)
class ConsentPage:
    """The page with the two buttons. Its form posts `csrf`, `transaction`, `tenant_id` and `decision`."""

    pages: Pages
    csrf: Csrf
    next_steps: NextSteps

    def render(
        self,
        request: Request,
        *,
        user: User,
        authorization: AuthorizationRequest,
        memberships: Sequence[Membership],
        transaction: str,
    ) -> Response:
        """Ask `user`. `transaction` is the signed request, bound to this browser; it is not looked into here.

        With several teams none is chosen beforehand: a click too fast must not open the wrong one.
        """
        context = {
            "client_name": authorization.client.name,
            "destination": Destination.of(authorization.redirect_uri),
            "permissions": permissions_of(authorization.scope),
            "memberships": memberships,
            "user": user,
            "csrf": self.csrf.token(request, CONSENT_PURPOSE),
            "transaction": transaction,
            "sign_out_csrf": self.csrf.token(request, SIGN_OUT_PURPOSE),
            "next": self._this_request(request),
        }
        form_action = form_action_of(authorization.redirect_uri)
        return self.pages.render(request, "consent.html", context, form_action=form_action)

    def _this_request(self, request: Request) -> str:
        """Where to go on with another account: the same authorization request again."""
        query = request.scope["query_string"].decode("latin-1")
        return self.next_steps.sign(authorize_step(query) if query else AFTER_SIGN_IN)
