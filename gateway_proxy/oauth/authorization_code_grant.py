"""The authorization code grant at the token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.6): redeem a code, once.

Everything the code is bound to is checked first, so that nobody can spend another's code by guessing; then it is taken
by one conditional UPDATE in the transaction that inserts the tokens. A second taking ends the whole family.
"""

from typing import Any

from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge

from gateway_proxy.domain.oauth import AuthorizationCode
from gateway_proxy.domain.oauth_errors import (
    CodeAlreadyRedeemed,
    CodeMismatch,
    CodeUnknown,
    ResourceUnknown,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.authlib_server import ClientView, FormRequest, GatewayServer, KeptRefusal
from gateway_proxy.oauth.authorization_request import find_resource
from gateway_proxy.oauth.members import allowed_scope
from gateway_proxy.oauth.vocabulary import AUTH_METHODS
from gateway_proxy.storage.sql.codes import find_authorization_code, take_code
from gateway_proxy.storage.sql.tokens import lock_family, revoke_family


class CodeView:
    """A code as authlib sees it. An empty redirect URI means that the authorization request sent none."""

    def __init__(self, code: AuthorizationCode, digest: bytes) -> None:
        self.code = code
        self.digest = digest
        self.code_challenge = code.code_challenge
        self.scope = code.scope

    def get_redirect_uri(self) -> str:
        return self.code.redirect_uri

    def get_scope(self) -> str:
        return self.scope


class S256(CodeChallenge):
    """PKCE with S256 and nothing else. Every code has a challenge, so every redemption needs a verifier."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def get_authorization_code_challenge_method(self, authorization_code: CodeView) -> str:
        return "S256"


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """authlib's grant with the taking put before the minting."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    request: FormRequest
    server: GatewayServer

    def validate_token_request(self) -> Any:
        """Check the client, the redirect URI, the verifier and the resource; nothing is changed yet.

        Raises:
            OAuthError: A parameter is missing or wrong, or the client did not authenticate.
            GrantError: The code is not this client's, or does not fit.
        """
        parameters = self.request.parameters
        parameters.get("code")
        parameters.get("code_verifier")
        validated = super().validate_token_request()
        resource = find_resource(self.server.config, parameters.find("resource"))
        if resource not in (None, self.request.authorization_code.code.resource):
            raise ResourceUnknown
        return validated

    def query_authorization_code(self, code: str, client: ClientView) -> CodeView:
        """Find the code, spent ones included: what became of it is decided when it is taken."""
        digest = digest_of(code)
        found = find_authorization_code(self.server.session, digest=digest)
        if found is None:
            raise CodeUnknown
        if found.client_id != client.client.id:
            raise CodeMismatch
        return CodeView(found, digest)

    def authenticate_user(self, authorization_code: CodeView) -> str:
        """Take the code, or end its family when it was taken before. Every check has passed by now.

        Raises:
            KeptRefusal: It was redeemed before; the family is revoked and stays so.
            GrantError: It expired, its family is revoked, or the user may no longer have what was granted.
        """
        session, now = self.server.session, self.server.clock.now()
        code = authorization_code.code
        family = lock_family(session, tenant_id=code.tenant_id, family_id=code.family_id)
        if family is None:
            raise CodeUnknown
        if take_code(session, tenant_id=code.tenant_id, digest=authorization_code.digest, now=now) is None:
            found = find_authorization_code(session, digest=authorization_code.digest)
            if found is None or found.used_at is None:
                raise CodeUnknown
            revoke_family(session, tenant_id=family.tenant_id, family_id=family.id, reason="code_reused", now=now)
            self.server.note("code.reused", family, has_revoked=True)
            raise KeptRefusal(CodeAlreadyRedeemed(family.id))
        if family.revoked_at is not None:
            raise CodeUnknown
        authorization_code.scope = allowed_scope(
            session, tenant_id=code.tenant_id, user_id=code.user_id, scope=code.scope
        )
        self.request.family = family
        self.server.note("tokens.issued", family)
        return code.user_id

    def delete_authorization_code(self, authorization_code: CodeView) -> None:
        """It was taken before the tokens were minted, and its row stays as the memory of that."""
