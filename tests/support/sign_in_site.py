"""A small MCP server with sign-in, as good as Claude.ai needs it, whose answers a test spoils one at a time."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.support.certificates import make_authority
from tests.support.gateway import free_port
from tests.support.mcp_backends import serve

Answer = Callable[[Request], Response | None]
TOKEN = "a-token-of-the-site"
PROTECTED = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
OPEN = {"access-control-allow-origin": "*"}


@dataclass
class SignInSite:
    """`spoiled` answers by path and come first; `None` from one means the good answer. `log` has what was asked."""

    url: str
    tools: list[dict[str, Any]] = field(default_factory=lambda: [{"name": "add", "inputSchema": {"type": "object"}}])
    metadata: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    spoiled: dict[str, Answer] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "OPTIONS", "DELETE", "HEAD"])]
        )

    async def _answer(self, request: Request) -> Response:
        await request.body()
        self.log.append(request)
        path = request.url.path
        spoiled = self.spoiled.get(path) or self.spoiled.get("*")
        response = spoiled(request) if spoiled is not None else None
        return response or await self._good(request, path)

    async def _good(self, request: Request, path: str) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=OPEN)
        if path in ("/mcp", "/mcp/"):
            return await self._mcp(request)
        if path in (f"{PROTECTED}/mcp", PROTECTED):
            return JSONResponse(self._resource())
        if path == SERVER:
            return JSONResponse(self._metadata())
        if path in ("/register", "/oauth/register") and request.method == "POST":
            if not await request.body():
                return JSONResponse({"error": "invalid_client_metadata"}, 400)
            return JSONResponse({**await request.json(), "client_id": "a-client"}, 201)
        if path in ("/token", "/oauth/token") and request.method == "POST":
            return JSONResponse({"error": "invalid_grant"}, 400)
        if path in ("/authorize", "/oauth/authorize"):
            return HTMLResponse("<p>Sign in</p>")
        return JSONResponse({"error": "not_found"}, 404)

    def _resource(self) -> dict[str, Any]:
        good = {"resource": f"{self.url}/mcp", "authorization_servers": [self.url], "scopes_supported": ["mcp"]}
        return good | self.resource

    def _metadata(self) -> dict[str, Any]:
        good = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "registration_endpoint": f"{self.url}/oauth/register",
            "scopes_supported": ["mcp", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "client_id_metadata_document_supported": True,
        }
        return {name: value for name, value in (good | self.metadata).items() if value is not None}

    async def _mcp(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer resource_metadata="{self.url}{PROTECTED}/mcp", scope="mcp"'
            return JSONResponse({"error": "unauthorized"}, 401, headers={"www-authenticate": challenge})
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        if "id" not in message:
            return Response(status_code=202)
        results: dict[str, Any] = {
            "initialize": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}},
            "tools/list": {"tools": self.tools},
            "ping": {},
        }
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]})


@contextlib.asynccontextmanager
async def sign_in_site(folder: Path) -> AsyncIterator[tuple[SignInSite, Path]]:
    """The site on https://localhost:<port>, and the authority to trust for it."""
    authority, port = make_authority(), free_port()
    trusted = folder / "authority.pem"
    trusted.write_bytes(authority.pem)
    site = SignInSite(f"https://localhost:{port}")
    async with serve(site.app, port=port, tls=authority.server_context("localhost", folder)):
        yield site, trusted
