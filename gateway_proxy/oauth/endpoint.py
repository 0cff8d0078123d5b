"""The ASGI frame of a JSON endpoint: its methods, and the boundary where reasons become RFC 6749 errors.

Every answer under it is JSON, a 405 included. Nothing about any particular endpoint stands here.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.limits.networks import network_of
from gateway_proxy.oauth.errors import error_response
from gateway_proxy.oauth.vocabulary import NO_STORE

Handle = Callable[[Request], Awaitable[Response]]
GET: Final = ("GET", "HEAD")
POST: Final = ("POST",)


class JsonEndpoint:
    """Calls `handle` for the allowed methods; mounted as the endpoint of a Starlette route without method list."""

    def __init__(self, handle: Handle, methods: tuple[str, ...]) -> None:
        self._handle = handle
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in self._methods:
            allow = ", ".join(self._methods)
            body = {"error": "invalid_request", "error_description": f"The method must be {allow}."}
            return JSONResponse(body, status_code=405, headers={"Allow": allow, **NO_STORE})
        try:
            return await self._handle(request)
        except GatewayError as reason:
            return error_response(reason)


def address_of(request: Request) -> str:
    """The client's address, for limits and the audit trail; of IPv6 the network, or its owner had 2^64 of them.

    Proxy headers were resolved before, or not trusted.
    """
    return network_of(request.client.host if request.client is not None else None)
