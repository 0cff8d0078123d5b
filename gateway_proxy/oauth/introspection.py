"""Token introspection (RFC 7662) for confidential clients, about their own tokens only. Anything else is inactive."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    GatewayError,
)
from gateway_proxy.domain.oauth_errors import (
    ClientUnauthenticated,
    MembershipEnded,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.authlib_server import ClientView, FormRequest, GatewayServer, Outcome
from gateway_proxy.oauth.client_authentication import read_credentials
from gateway_proxy.oauth.members import allowed_scope
from gateway_proxy.oauth.parameters import read_form
from gateway_proxy.oauth.vocabulary import NO_STORE, SECRET_METHODS, OAuthConfig
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.tokens import find_access_token, find_refresh_token, lock_family


@dataclass(frozen=True, slots=True)
class LivingToken:
    """What may be told about a token that is alive. `audience` is the resource it is bound to."""

    client_id: str
    user_id: str
    scope: str
    audience: str
    issued_at: datetime
    expires_at: datetime
    is_access: bool

    def is_expired(self) -> bool:
        """Only living tokens are made into this."""
        return False

    def is_revoked(self) -> bool:
        """Only living tokens are made into this."""
        return False


class Introspections(IntrospectionEndpoint):
    """authlib's endpoint over our tokens."""

    CLIENT_AUTH_METHODS = SECRET_METHODS
    server: GatewayServer

    def authenticate_token(self, request: FormRequest, client: ClientView) -> LivingToken | None:
        """The client's own living token, its scope cut down to what the membership allows now."""
        if client.client.auth_method == "none":
            raise ClientUnauthenticated
        digest = digest_of(request.parameters.get("token"))
        token = self._find_access(digest) or self._find_refresh(digest)
        return token if token is not None and token.client_id == client.client.id else None

    def introspect_token(self, token: LivingToken) -> dict[str, Any]:
        """The response of RFC 7662 §2.2."""
        payload: dict[str, Any] = {
            "active": True,
            "iss": self.server.config.issuer,
            "client_id": token.client_id,
            "sub": token.user_id,
            "aud": token.audience,
            "scope": token.scope,
            "iat": int(token.issued_at.timestamp()),
            "exp": int(token.expires_at.timestamp()),
        }
        return payload | {"token_type": "Bearer"} if token.is_access else payload

    def _find_access(self, digest: bytes) -> LivingToken | None:
        token = find_access_token(self.server.session, digest=digest)
        if token is None or token.revoked_at is not None or token.expires_at <= self.server.clock.now():
            return None
        scope = self._scope(token.tenant_id, token.user_id, token.scope)
        if scope is None:
            return None
        return LivingToken(
            token.client_id, token.user_id, scope, token.audience, token.issued_at, token.expires_at, is_access=True
        )

    def _find_refresh(self, digest: bytes) -> LivingToken | None:
        session = self.server.session
        token = find_refresh_token(session, digest=digest)
        if token is None or token.used_at is not None or token.expires_at <= self.server.clock.now():
            return None
        family = lock_family(session, tenant_id=token.tenant_id, family_id=token.family_id)
        scope = None if family is None else self._scope(token.tenant_id, token.user_id, family.scope)
        if family is None or family.revoked_at is not None or scope is None:
            return None
        return LivingToken(
            token.client_id, token.user_id, scope, family.resource, token.issued_at, token.expires_at, is_access=False
        )

    def _scope(self, tenant_id: str, user_id: str, scope: str) -> str | None:
        try:
            return allowed_scope(self.server.session, tenant_id=tenant_id, user_id=user_id, scope=scope)
        except MembershipEnded:
            return None


@dataclass(frozen=True)
class Introspection:
    """POST /oauth/introspect."""

    config: OAuthConfig
    database: Database
    clock: Clock

    async def handle(self, request: Request) -> Response:
        """Say whether a token is alive, to the client it was issued to.

        Raises:
            OAuthError: The request or the client's authentication is wrong.
            StorageUnavailable: The database is out of reach.
        """
        form = await read_form(request)
        credentials = read_credentials(request.headers, form)
        form.get("token")
        outcome = await self.database.run(self._answer, request=FormRequest(self.config, form, credentials))
        if isinstance(outcome.answer, GatewayError):
            raise outcome.answer
        return JSONResponse(outcome.answer, headers=NO_STORE)

    def _answer(self, session: Session, *, request: FormRequest) -> Outcome:
        server = GatewayServer(session, config=self.config, clock=self.clock)
        server.register_endpoint(Introspections)
        outcome: Outcome = server.create_endpoint_response(Introspections.ENDPOINT_NAME, request)
        return outcome
