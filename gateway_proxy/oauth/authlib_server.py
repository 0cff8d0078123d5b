"""The sync bridge to authlib's core: one server per request, built around the session that `Database.run` hands over.

authlib drives the grants and endpoints (RFC 6749, 7636, 7009, 7662). What its core lacks is closed by the grants and
endpoints built on this: atomic taking, families, resources, our reasons. It does no I/O but through the session, and
it is entered only by way of `Database.run`.

A `GatewayError` raised in a grant goes through authlib untouched and rolls back. A refusal that must persist what it
decided (reuse revokes the family) is raised as `KeptRefusal`, which authlib turns into a return value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidGrantError,
    InvalidScopeError,
    OAuth2Error,
    OAuth2Request,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy.orm import Session

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    GatewayError,
)
from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.oauth import AccessToken, Client, RefreshToken, TokenFamily
from gateway_proxy.domain.oauth_errors import (
    CodeMismatch,
    GrantTypeForbidden,
    GrantTypeUnsupported,
    ParameterInvalid,
    ScopeExceeded,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.client_authentication import ClientCredentials, verify_client
from gateway_proxy.oauth.parameters import Parameters
from gateway_proxy.oauth.vocabulary import TOKEN_PATH, OAuthConfig
from gateway_proxy.storage.sql.tokens import add_access_token, add_refresh_token, advance_family

TokenResponse = dict[str, Any]
VERIFIER: Final = "43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'"


class KeptRefusal(OAuth2Error):
    """A refusal whose transaction is committed all the same."""

    def __init__(self, reason: GatewayError) -> None:
        super().__init__()
        self.reason = reason


class FormRequest(OAuth2Request):
    """A form post as authlib sees it. Built from the public URL, never from the request's own."""

    def __init__(self, config: OAuthConfig, parameters: Parameters, credentials: ClientCredentials) -> None:
        super().__init__("POST", config.public_url + TOKEN_PATH)
        self.parameters = parameters
        self.credentials = credentials
        self._form = {name: value for name, value in parameters.values.items() if value}
        self.payload = BasicOAuth2Payload(self._form)
        self.family: TokenFamily | None = None

    @property
    def form(self) -> Mapping[str, str]:
        """The parameters that have a value."""
        return self._form


class ClientView(ClientMixin):
    """A client as authlib sees it. Its authentication was verified before, by us."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        return self.client.id

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.client.grant_types


@dataclass(frozen=True, slots=True)
class SecurityNote:
    """An audit event to record once the transaction is committed. `has_revoked` says that tokens died in it."""

    event: str
    tenant_id: str
    user_id: str
    client_id: str
    has_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed transaction decided: a response body, or the reason for a refusal."""

    answer: TokenResponse | GatewayError
    notes: tuple[SecurityNote, ...] = field(default=())


class GatewayServer(AuthorizationServer):
    """authlib's server over one session and one form. Not reused, not shared."""

    def __init__(self, session: Session, *, config: OAuthConfig, clock: Clock) -> None:
        super().__init__()
        self.session = session
        self.config = config
        self.clock = clock
        self.notes: list[SecurityNote] = []

    def note(self, event: str, family: TokenFamily, *, has_revoked: bool = False) -> None:
        """Keep an audit event of a family for after the commit."""
        self.notes.append(SecurityNote(event, family.tenant_id, family.user_id, family.client_id, has_revoked))

    def authenticate_client(self, request: FormRequest, methods: Sequence[str], endpoint: str = "token") -> ClientView:
        """Verify the credentials that were read from the request (see client_authentication)."""
        client = verify_client(self.session, credentials=request.credentials, clock=self.clock)
        request.auth_method = client.auth_method
        return ClientView(client)

    def generate_token(
        self,
        grant_type: str,
        client: ClientView,
        user: object = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> TokenResponse:
        """Mint a token response (RFC 6749 §5.1). "Bearer" with a capital: some clients compare it."""
        token: TokenResponse = {
            "access_token": new_secret("gw_at_"),
            "token_type": "Bearer",
            "expires_in": int(self.config.access_ttl),
            "scope": scope,
        }
        if include_refresh_token:
            token["refresh_token"] = new_secret("gw_rt_")
        return token

    def save_token(self, token: TokenResponse, request: FormRequest) -> None:
        """Insert the minted tokens under the request's family, which is locked."""
        family = request.family
        if family is None:
            raise RuntimeError("a grant must set the family before it saves tokens")
        now = self.clock.now()
        access = AccessToken(
            id=new_id(),
            family_id=family.id,
            tenant_id=family.tenant_id,
            user_id=family.user_id,
            client_id=family.client_id,
            scope=token["scope"],
            audience=family.resource,
            issued_at=now,
            expires_at=now + timedelta(seconds=self.config.access_ttl),
            revoked_at=None,
        )
        add_access_token(self.session, token=access, digest=digest_of(token["access_token"]))
        if "refresh_token" in token:
            self._save_refresh_token(token["refresh_token"], family)

    def _save_refresh_token(self, secret: str, family: TokenFamily) -> None:
        now = self.clock.now()
        generation = family.generation + 1
        refresh = RefreshToken(
            id=new_id(),
            family_id=family.id,
            tenant_id=family.tenant_id,
            user_id=family.user_id,
            client_id=family.client_id,
            generation=generation,
            issued_at=now,
            expires_at=now + timedelta(seconds=self.config.refresh_ttl),
            used_at=None,
            sealed_response=None,
        )
        add_refresh_token(self.session, token=refresh, digest=digest_of(secret))
        advance_family(self.session, tenant_id=family.tenant_id, family_id=family.id, generation=generation)

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        """The request is built before the server is entered."""
        return request

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """authlib's signals are not used; audit events are notes."""

    def handle_response(self, status: int, body: TokenResponse, headers: object) -> Outcome:
        """A success; status and headers are the endpoint's own business."""
        return Outcome(body, tuple(self.notes))

    def handle_error_response(self, request: FormRequest, error: OAuth2Error) -> Outcome:
        """A refusal: ours as it was raised, authlib's own translated into our reasons."""
        return Outcome(reason_of(error), tuple(self.notes))


def reason_of(error: OAuth2Error) -> GatewayError:
    """Our reason for an error that authlib's core raised itself. Its text is never shown."""
    if isinstance(error, KeptRefusal):
        return error.reason
    if isinstance(error, UnsupportedGrantTypeError):
        return GrantTypeUnsupported()
    if isinstance(error, UnauthorizedClientError):
        return GrantTypeForbidden()
    if isinstance(error, InvalidScopeError):
        return ScopeExceeded()
    if isinstance(error, InvalidGrantError):
        return CodeMismatch()
    return ParameterInvalid("code_verifier", VERIFIER)  # the one InvalidRequestError that is left to authlib
