"""Authorization server metadata (RFC 8414): one document at every path that clients try. Nothing is per request."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.oauth.vocabulary import (
    AUTH_METHODS,
    AUTHORIZE_PATH,
    GRANT_TYPES,
    INTROSPECT_PATH,
    REGISTER_PATH,
    REVOKE_PATH,
    SECRET_METHODS,
    SUPPORTED_SCOPES,
    TOKEN_PATH,
    OAuthConfig,
)

CACHE = {"Cache-Control": "public, max-age=300"}


def server_metadata(config: OAuthConfig) -> dict[str, Any]:
    """The document: every URL is built from the configured public URL, never from a request."""
    base = config.public_url
    return {
        "issuer": config.issuer,
        "authorization_endpoint": base + AUTHORIZE_PATH,
        "token_endpoint": base + TOKEN_PATH,
        "registration_endpoint": base + REGISTER_PATH,
        "revocation_endpoint": base + REVOKE_PATH,
        "introspection_endpoint": base + INTROSPECT_PATH,
        "scopes_supported": list(SUPPORTED_SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": list(SECRET_METHODS),
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "protected_resources": list(config.resources),
    }


@dataclass(frozen=True)
class ServerMetadata:
    """GET /.well-known/oauth-authorization-server and its aliases."""

    config: OAuthConfig

    async def handle(self, request: Request) -> Response:
        """Answer the document."""
        return JSONResponse(server_metadata(self.config), headers=CACHE)


@dataclass(frozen=True)
class WellKnownUnknown:
    """Any other /.well-known path: a clean 404 in JSON, so that discovery goes on to the next URL."""

    async def handle(self, request: Request) -> Response:
        """Answer 404."""
        body = {"error": "not_found", "error_description": "There is no such well-known document here."}
        return JSONResponse(body, status_code=404, headers={"Cache-Control": "no-store"})
