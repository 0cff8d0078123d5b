"""Token revocation (RFC 7009): a refresh token ends its family, an access token ends itself, anything else is a 200."""

from dataclasses import dataclass

from authlib.oauth2.rfc7009 import RevocationEndpoint
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.domain.oauth import AccessToken, RefreshToken
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.authlib_server import ClientView, FormRequest, GatewayServer, Outcome, SecurityNote
from gateway_proxy.oauth.client_authentication import read_credentials
from gateway_proxy.oauth.parameters import read_form
from gateway_proxy.oauth.token import record_notes
from gateway_proxy.oauth.vocabulary import AUTH_METHODS, NO_STORE, AnnounceRevocation, AuditTrail, OAuthConfig
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.tokens import (
    find_access_token,
    find_refresh_token,
    lock_family,
    revoke_access_token,
    revoke_family,
)


class Revocations(RevocationEndpoint):
    """authlib's endpoint over our families. A foreign token is treated like an unknown one."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: GatewayServer

    def authenticate_token(self, request: FormRequest, client: ClientView) -> AccessToken | RefreshToken | None:
        """The client's own token. The type hint is not needed: both kinds are found by digest (RFC 7009 §2.1)."""
        digest = digest_of(request.parameters.get("token"))
        session = self.server.session
        token = find_refresh_token(session, digest=digest) or find_access_token(session, digest=digest)
        return token if token is not None and token.client_id == client.client.id else None

    def revoke_token(self, token: AccessToken | RefreshToken, request: FormRequest) -> None:
        """End it, under the lock that a refresh takes as well."""
        session, now = self.server.session, self.server.clock.now()
        if lock_family(session, tenant_id=token.tenant_id, family_id=token.family_id) is None:
            return
        if isinstance(token, RefreshToken):
            revoke_family(
                session, tenant_id=token.tenant_id, family_id=token.family_id, reason="client_revoked", now=now
            )
        else:
            revoke_access_token(session, tenant_id=token.tenant_id, token_id=token.id, now=now)
        note = SecurityNote("tokens.revoked", token.tenant_id, token.user_id, token.client_id, has_revoked=True)
        self.server.notes.append(note)


@dataclass(frozen=True)
class Revocation:
    """POST /oauth/revoke."""

    config: OAuthConfig
    database: Database
    clock: Clock
    audit: AuditTrail
    announce_revocation: AnnounceRevocation

    async def handle(self, request: Request) -> Response:
        """Revoke a token; 200 also when there was nothing to revoke (RFC 7009 §2.2).

        Raises:
            OAuthError: The request or the client's authentication is wrong.
            StorageUnavailable: The database is out of reach.
        """
        form = await read_form(request)
        form.get("token")
        credentials = read_credentials(request.headers, form)
        outcome = await self.database.run(self._answer, request=FormRequest(self.config, form, credentials))
        await record_notes(outcome.notes, self.audit, self.announce_revocation)
        if isinstance(outcome.answer, GatewayError):
            raise outcome.answer
        return Response(status_code=200, headers=NO_STORE)

    def _answer(self, session: Session, *, request: FormRequest) -> Outcome:
        server = GatewayServer(session, config=self.config, clock=self.clock)
        server.register_endpoint(Revocations)
        outcome: Outcome = server.create_endpoint_response(Revocations.ENDPOINT_NAME, request)
        return outcome
