"""The token endpoint (RFC 6749 §3.2): one form, one transaction, one answer. The grants decide; see their modules."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    GatewayError,
)
from gateway_proxy.domain.oauth_errors import (
    ClientUnauthenticated,
    GrantError,
)
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.oauth.authlib_server import FormRequest, GatewayServer, Outcome, SecurityNote
from gateway_proxy.oauth.authorization_code_grant import S256, AuthorizationCodeGrant
from gateway_proxy.oauth.client_authentication import read_credentials
from gateway_proxy.oauth.endpoint import address_of
from gateway_proxy.oauth.parameters import read_form
from gateway_proxy.oauth.refresh_token_grant import RefreshTokenGrant
from gateway_proxy.oauth.vocabulary import NO_STORE, AnnounceRevocation, AuditTrail, OAuthConfig
from gateway_proxy.storage.sql.database import Database


@dataclass(frozen=True)
class Token:
    """POST /oauth/token."""

    config: OAuthConfig
    database: Database
    clock: Clock
    limiter: Limiter
    audit: AuditTrail
    announce_revocation: AnnounceRevocation

    async def handle(self, request: Request) -> Response:
        """Answer a token request (RFC 6749 §5.1).

        Raises:
            OAuthError: The request or the client's authentication is wrong.
            GrantError: The code or refresh token cannot be used.
            RateLimited: Too many refused requests from this address.
            StorageUnavailable: The database is out of reach.
        """
        try:
            form = await read_form(request)
            form.get("grant_type")
            credentials = read_credentials(request.headers, form)
            outcome = await self.database.run(
                answer_token_request,
                request=FormRequest(self.config, form, credentials),
                config=self.config,
                clock=self.clock,
            )
            await record_notes(outcome.notes, self.audit, self.announce_revocation)
            if isinstance(outcome.answer, GatewayError):
                raise outcome.answer
        except (GrantError, ClientUnauthenticated):
            await self._count_failure(address_of(request))
            raise
        return JSONResponse(outcome.answer, headers=NO_STORE)

    async def _count_failure(self, address: str) -> None:
        config = self.config
        await self.limiter.hit("token_failure", address, limit=config.token_failure_limit, window=config.limit_window)


def answer_token_request(session: Session, *, request: FormRequest, config: OAuthConfig, clock: Clock) -> Outcome:
    """Let authlib drive the grant that the form asks for, inside the caller's transaction."""
    server = GatewayServer(session, config=config, clock=clock)
    server.register_grant(AuthorizationCodeGrant, [S256(required=True)])
    server.register_grant(RefreshTokenGrant)
    outcome: Outcome = server.create_token_response(request)
    return outcome


async def record_notes(notes: Sequence[SecurityNote], audit: AuditTrail, announce: AnnounceRevocation) -> None:
    """Record what a committed transaction did, and tell those who cache tokens when some were revoked."""
    for note in notes:
        audit.record(note.event, tenant_id=note.tenant_id, user_id=note.user_id, client_id=note.client_id)
    if any(note.has_revoked for note in notes):
        await announce()
