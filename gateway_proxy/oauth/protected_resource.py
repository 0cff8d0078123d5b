"""Protected resource metadata (RFC 9728): who authorizes for /mcp and /v1. Nothing here is per request."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.principal import Scope
from gateway_proxy.oauth.metadata import CACHE
from gateway_proxy.oauth.vocabulary import OAuthConfig

NAMES = {Scope.MCP: "MCP gateway", Scope.OPENAI: "OpenAI-compatible API"}


def resource_metadata(config: OAuthConfig, *, resource: str) -> dict[str, Any]:
    """The document of one of our resources; `resource` is the canonical identifier, without a trailing slash."""
    scope = config.resources[resource]
    return {
        "resource": resource,
        "authorization_servers": [config.issuer],
        "scopes_supported": [scope],
        "bearer_methods_supported": ["header"],
        "resource_name": NAMES[scope],
    }


@dataclass(frozen=True)
class ProtectedResource:
    """GET /.well-known/oauth-protected-resource for one resource."""

    config: OAuthConfig
    resource: str

    async def handle(self, request: Request) -> Response:
        """Answer the document."""
        return JSONResponse(resource_metadata(self.config, resource=self.resource), headers=CACHE)
