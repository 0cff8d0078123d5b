"""Which surface a path belongs to: the one table that CORS, the error boundary and metrics read."""

from enum import StrEnum
from typing import Final


class SurfaceName(StrEnum):
    """The protocol entrances, by the shape of their errors."""

    MCP = "mcp"
    OPENAI = "openai"
    OAUTH = "oauth"
    ADMIN = "admin"
    OPERATIONS = "operations"
    PAGES = "pages"


EXACT: Final = {
    "/mcp": SurfaceName.MCP,
    "/sse": SurfaceName.MCP,
    "/register": SurfaceName.OAUTH,
    "/token": SurfaceName.OAUTH,
    "/oauth/register": SurfaceName.OAUTH,
    "/oauth/token": SurfaceName.OAUTH,
    "/oauth/revoke": SurfaceName.OAUTH,
    "/oauth/introspect": SurfaceName.OAUTH,
    "/health": SurfaceName.OPERATIONS,
    "/ready": SurfaceName.OPERATIONS,
    "/status": SurfaceName.OPERATIONS,
    "/metrics": SurfaceName.OPERATIONS,
    "/servers": SurfaceName.ADMIN,
    "/tools": SurfaceName.ADMIN,
}
PREFIXES: Final = (
    ("/v1/", SurfaceName.OPENAI),
    ("/mcp/", SurfaceName.MCP),
    ("/messages/", SurfaceName.MCP),
    ("/.well-known/", SurfaceName.OAUTH),
    ("/admin/", SurfaceName.ADMIN),
    ("/servers/", SurfaceName.ADMIN),
)


def surface_of(path: str) -> SurfaceName:
    """The surface that serves `path`; pages for people are what is left."""
    exact = EXACT.get(path)
    if exact is not None:
        return exact
    for prefix, surface in PREFIXES:
        if path.startswith(prefix):
            return surface
    return SurfaceName.PAGES
