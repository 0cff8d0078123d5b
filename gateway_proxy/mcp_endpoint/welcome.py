"""Whether the holder of an open stream may keep it: the token is looked at again while the stream lasts.

The first check of a request is RequireScope's; this one only repeats it (reference/security.md RS2).
"""

from starlette.types import Scope as Connection

from gateway_proxy.auth.bearer import read_bearer
from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.domain.errors import AuthError
from gateway_proxy.domain.principal import Scope
from gateway_proxy.mcp_endpoint.config import IsStillWelcome


def welcome_while_token_lives(verifier: TokenVerifier) -> IsStillWelcome:
    """Ask the verifier about the token in the request's header; StorageUnavailable passes through."""

    async def is_still_welcome(connection: Connection) -> bool:
        try:
            verified = await verifier.verify(read_bearer(connection["headers"]))
        except AuthError:
            return False
        return Scope.MCP in verified.principal.scopes

    return is_still_welcome
