"""From a path to the surface that serves it. Nothing is decided about the caller here."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    body = {"error": "There is nothing at this path.", "details": [request.scope["path"][:200]]}
    response: Response = JSONResponse(body, status_code=404)
    await response(scope, receive, send)


class Surfaces:
    """Sends a request to its surface. /mcp is looked at first: it is the hot path."""

    def __init__(self, mcp: ASGIApp, routes: Sequence[Route]) -> None:
        self._mcp = mcp
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ("/mcp", "/mcp/"):
            await self._mcp(scope, receive, send)
        else:
            await self._router(scope, receive, send)
