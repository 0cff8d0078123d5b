"""CORS by surface, by Starlette's own middleware: it answers preflights before anyone asks for a token.

Never with credentials: no surface that a foreign page may call reads a cookie. The pages for people, /admin and
/oauth/authorize have no CORS at all.
"""

from collections.abc import Awaitable, Collection
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.edge.surfaces import SurfaceName, surface_of

EXPOSED: Final = ("Mcp-Session-Id", "WWW-Authenticate", "X-Request-Id", "Retry-After", "X-Should-Retry")
DAY: Final = 86400
LOOPBACK_ORIGIN: Final = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class SurfaceCors:
    """Sends a request through the CORS policy of its surface.

    `origins` empty: any origin may call /v1 (a bearer token is needed all the same), the gateway's own and loopback
    origins may call /mcp. Otherwise exactly those, and the gateway's own, may call both.
    """

    def __init__(self, app: ASGIApp, *, public_url: str, origins: Collection[str]) -> None:
        self._app = app
        listed = tuple(origins) or None
        self._policies: dict[SurfaceName, ASGIApp] = {
            "oauth": CORSMiddleware(
                app,
                allow_origins=["*"],
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
                max_age=DAY,
            ),
            "openai": CORSMiddleware(
                app,
                allow_origins=["*"] if listed is None else [*listed, public_url],
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
                max_age=DAY,
            ),
            "mcp": CORSMiddleware(
                app,
                allow_origins=[*(listed or ()), public_url],
                allow_origin_regex=LOOPBACK_ORIGIN if listed is None else None,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
                max_age=DAY,
            ),
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of the policy, or of the application behind it."""
        policy = self._app
        if scope["type"] == "http" and (scope["method"] != "POST" or _has_origin(scope)):
            policy = self._policies.get(surface_of(scope["path"]), self._app)
        return policy(scope, receive, send)


def _has_origin(scope: Scope) -> bool:
    """Whether a browser may be asking. Answers to a POST are not cached, so without an Origin they need no Vary."""
    for name, _ in scope["headers"]:  # noqa: SIM110 - a generator costs more than the loop, on every call
        if name == b"origin":
            return True
    return False
