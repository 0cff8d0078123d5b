"""The refresh token grant (RFC 6749 §6) with rotation, reuse detection and the grace window (OAuth 2.1 §4.3.1).

The family is locked first, so that of fifty parallel refreshes one rotates and the others find the spent token. Within
the grace window they open the sealed copy of the answer with the token they presented, and all get the same successor.
Any later use ends the family. What counts is the generation, not the clock.
"""

import json
from datetime import timedelta
from typing import Any, NoReturn

from authlib.oauth2.rfc6749 import grants

from gateway_proxy.domain.errors import (
    GatewayError,
    SealBroken,
)
from gateway_proxy.domain.oauth import RefreshToken, TokenFamily
from gateway_proxy.domain.oauth_errors import (
    RefreshTokenReused,
    RefreshTokenUnknown,
    ResourceUnknown,
    ScopeExceeded,
)
from gateway_proxy.domain.principal import Scope
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.authlib_server import (
    ClientView,
    FormRequest,
    GatewayServer,
    KeptRefusal,
    TokenResponse,
)
from gateway_proxy.oauth.authorization_request import find_resource
from gateway_proxy.oauth.members import allowed_scope
from gateway_proxy.oauth.vocabulary import AUTH_METHODS
from gateway_proxy.sealing.keyring import open_under, row_context, seal_under
from gateway_proxy.storage.sql.tokens import (
    erase_sealed_responses,
    find_refresh_token,
    lock_family,
    revoke_family,
    spend_refresh_token,
)

KNOWN_SCOPES = frozenset(scope.value for scope in Scope)


class RefreshTokenView:
    """A refresh token as authlib sees it, with its locked family."""

    def __init__(self, token: RefreshToken, family: TokenFamily, secret: str) -> None:
        self.token = token
        self.family = family
        self.secret = secret
        self.scope = family.scope
        self.repeated: TokenResponse | None = None

    def check_client(self, client: ClientView) -> bool:
        return self.token.client_id == client.client.id

    def get_scope(self) -> str:
        return self.scope


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """authlib's grant over locked families."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True
    request: FormRequest
    server: GatewayServer

    def validate_token_request(self) -> None:
        """Check the client, the token, the scope and the resource.

        Raises:
            OAuthError: A parameter is missing or wrong, or the client did not authenticate.
            GrantError: The token cannot be used.
            KeptRefusal: It was used before; its family is revoked and stays so.
        """
        self.request.parameters.get("refresh_token")
        super().validate_token_request()
        resource = find_resource(self.server.config, self.request.parameters.find("resource"))
        if resource not in (None, self.request.refresh_token.family.resource):
            raise ResourceUnknown

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshTokenView:
        """Find the token, lock its family, and read it again: it may have been spent while we waited."""
        session, digest = self.server.session, digest_of(refresh_token)
        found = find_refresh_token(session, digest=digest)
        if found is None or found.client_id != self.request.client.client.id:
            raise RefreshTokenUnknown
        family = lock_family(session, tenant_id=found.tenant_id, family_id=found.family_id)
        token = find_refresh_token(session, digest=digest)
        if family is None or token is None or family.revoked_at is not None:
            raise RefreshTokenUnknown
        view = RefreshTokenView(token, family, refresh_token)
        if token.used_at is not None:
            view.repeated = self._repeat(view)
        elif token.generation != family.generation:
            self._end_family(view)
        elif token.expires_at <= self.server.clock.now():
            raise RefreshTokenUnknown
        return view

    def _repeat(self, view: RefreshTokenView) -> TokenResponse:
        """The answer that this token gave before, when the grace window still allows it."""
        token, now = view.token, self.server.clock.now()
        grace = timedelta(seconds=self.server.config.refresh_grace)
        if token.sealed_response is None or token.used_at is None or now - token.used_at >= grace:
            self._end_family(view)
        try:
            kept = json.loads(open_under(view.secret, token.sealed_response, context=_context(token)))
        except SealBroken:
            self._end_family(view)
        response: TokenResponse = kept["response"]
        left = int(kept["expires_at"] - now.timestamp())
        longest = int(self.server.config.access_ttl)  # a clock that was put back makes no token live longer
        return response | {"expires_in": min(longest, max(0, left))}

    def _end_family(self, view: RefreshTokenView) -> NoReturn:
        family, now = view.family, self.server.clock.now()
        revoke_family(
            self.server.session,
            tenant_id=family.tenant_id,
            family_id=family.id,
            reason="refresh_token_reused",
            now=now,
        )
        self.server.note("refresh_token.reused", family, has_revoked=True)
        reason: GatewayError = RefreshTokenReused(family.id)
        raise KeptRefusal(reason)

    def _validate_token_scope(self, token: RefreshTokenView) -> None:
        """A requested scope may only be less than what was granted; names that are nobody's are passed over."""
        asked = set((self.request.parameters.find("scope") or "").split()) & KNOWN_SCOPES
        granted = set(token.family.scope.split())
        if asked - granted - {Scope.OFFLINE_ACCESS}:
            raise ScopeExceeded
        if asked - {Scope.OFFLINE_ACCESS}:
            token.scope = " ".join(name for name in token.family.scope.split() if name in asked)

    def create_token_response(self) -> Any:
        """Rotate, or repeat the rotation that is on record."""
        view: RefreshTokenView = self.request.refresh_token
        if view.repeated is None:
            return super().create_token_response()
        self.authenticate_user(view)
        return 200, view.repeated, self.TOKEN_RESPONSE_HEADER

    def authenticate_user(self, refresh_token: RefreshTokenView) -> str:
        """Whoever agreed must still be a member, and the scope never exceeds what the role allows now.

        Raises:
            MembershipEnded: The user may no longer have any of it.
        """
        family = refresh_token.family
        refresh_token.scope = allowed_scope(
            self.server.session, tenant_id=family.tenant_id, user_id=family.user_id, scope=refresh_token.scope
        )
        self.request.family = family
        return family.user_id

    def issue_token(self, user: str, refresh_token: RefreshTokenView) -> TokenResponse:
        """Mint the successor, and spend the presented token with a sealed copy of it."""
        session, now = self.server.session, self.server.clock.now()
        token, family = refresh_token.token, refresh_token.family
        response: TokenResponse = self.generate_token(user=user, scope=refresh_token.scope, include_refresh_token=True)
        kept = {"response": response, "expires_at": now.timestamp() + self.server.config.access_ttl}
        sealed = seal_under(refresh_token.secret, json.dumps(kept).encode(), context=_context(token))
        if not spend_refresh_token(
            session, tenant_id=family.tenant_id, token_id=token.id, sealed_response=sealed, now=now
        ):
            self._end_family(refresh_token)
        erase_sealed_responses(
            session, tenant_id=family.tenant_id, family_id=family.id, before_generation=token.generation
        )
        self.server.note("tokens.refreshed", family)
        return response

    def revoke_old_credential(self, refresh_token: RefreshTokenView) -> None:
        """It was spent before the successor was saved."""


def _context(token: RefreshToken) -> str:
    return row_context(tenant_id=token.tenant_id, table="refresh_tokens", column="sealed_response", row_id=token.id)
