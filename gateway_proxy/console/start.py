"""GET /: what this is and how to connect Claude and Open WebUI, with the real addresses. Shows nothing of a tenant."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Start:
    """The start page, for a visitor who is signed in and for one who is not. Addresses come from `public_url` only."""

    pages: Pages
    sessions: BrowserSessions
    public_url: str

    async def handle(self, request: Request) -> Response:
        """Show the page."""
        return await self.pages.guard(self._get)(request)

    async def _get(self, request: Request) -> Response:
        context = {
            "user": await self.sessions.current_user(request),
            "mcp_url": f"{self.public_url}/mcp",
            "openai_url": f"{self.public_url}/v1",
            "is_loopback": urlsplit(self.public_url).hostname in LOOPBACK_HOSTS,
        }
        return self.pages.render(request, "start.html", context)
