"""From a path to the surface that serves it. Nothing is decided about the caller here."""

from collections.abc import Awaitable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.browser.pages import Pages
from gateway_proxy.edge.error_shapes import EdgeError, error_body
from gateway_proxy.edge.surfaces import surface_of

NOTHING: Final = EdgeError(
    "There is nothing at this path.", -32601, "invalid_request_error", "unknown_url", "invalid_request"
)
NOTHING_HERE: Final = {
    "title": "There is no such page",
    "message": "The address may be mistyped, or what it led to is gone.",
    "next_step": "Go to the start page by the name at the top.",
}


class NotFound:
    """The answer at a path that no surface has: a page for who looks with a browser, else JSON of the surface."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        await self._answer(request)(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        surface = surface_of(request.scope["path"])
        if surface == "pages" and "text/html" in request.headers.get("accept", ""):
            return self._pages.render(request, "error.html", NOTHING_HERE, status=404)
        headers = {"Cache-Control": "no-store"}
        return Response(error_body(surface, NOTHING), 404, headers, media_type="application/json")


class Surfaces:
    """Sends a request to its surface. /mcp is looked at first: it is the hot path."""

    def __init__(self, mcp: ASGIApp, routes: Sequence[Route], not_found: NotFound) -> None:
        self._mcp = mcp
        self._router = Router(routes, redirect_slashes=False, default=not_found)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of the surface."""
        surface = self._mcp if scope["path"] in ("/mcp", "/mcp/") else self._router
        return surface(scope, receive, send)
