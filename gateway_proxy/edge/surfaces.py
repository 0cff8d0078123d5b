"""Which surface a path belongs to: the one table that CORS, the error boundary and metrics read."""

from typing import Final, Literal

SurfaceName = Literal["mcp", "openai", "oauth", "admin", "operations", "pages"]
"""The protocol entrances, by the shape of their errors."""


EXACT: Final[dict[str, SurfaceName]] = {
    "/mcp": "mcp",
    "/sse": "mcp",
    "/v1": "openai",
    "/register": "oauth",
    "/token": "oauth",
    "/oauth/register": "oauth",
    "/oauth/token": "oauth",
    "/oauth/revoke": "oauth",
    "/oauth/introspect": "oauth",
    "/health": "operations",
    "/ready": "operations",
    "/status": "operations",
    "/metrics": "operations",
    "/servers": "admin",
    "/tools": "admin",
}
PREFIXES: Final[tuple[tuple[str, SurfaceName], ...]] = (
    ("/v1/", "openai"),
    ("/mcp/", "mcp"),
    ("/messages/", "mcp"),
    ("/.well-known/", "oauth"),
    ("/admin/", "admin"),
    ("/servers/", "admin"),
)


def surface_of(path: str) -> SurfaceName:
    """The surface that serves `path`; pages for people are what is left."""
    exact = EXACT.get(path)
    if exact is not None:
        return exact
    for prefix, surface in PREFIXES:
        if path.startswith(prefix):
            return surface
    return "pages"
