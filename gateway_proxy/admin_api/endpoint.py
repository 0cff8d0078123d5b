"""The ASGI skin around every handler of the admin surface: methods, JSON bodies, errors. Knows nothing of servers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway_proxy.admin_api.errors import NO_STORE, Refused, refusal, refused_for
from gateway_proxy.domain.errors import ConfigFileInvalid, GatewayError
from gateway_proxy.provisioning.definitions import parse_text

BODY_LIMIT: Final = 1024 * 1024
BODY_SECONDS: Final = 30.0

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One path. An instance is an ASGI app, so that Starlette leaves the methods, and thus the 405 body, to us.

    `own_origin` is that of the gateway's pages: a page of any other is refused, whatever token it got hold of (security
    incident 2). Programs send no Origin. `noun` is what the path defines, for the words of a refusal.
    """

    own_origin: str
    handlers: Mapping[str, Handler]
    noun: str = "server"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            self._check_origin(scope)
            response = await self._handler(scope["method"])(Request(scope, receive))
        except Refused as error:
            response = refusal(error)
        except GatewayError as error:
            response = refusal(refused_for(error, noun=self.noun))
        await response(scope, receive, send)

    def _check_origin(self, scope: Scope) -> None:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if origins and origins != [self.own_origin.encode("ascii")]:
            raise Refused(403, "Pages of other origins may not administer this gateway.")

    def _handler(self, method: str) -> Handler:
        handler = self.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(sorted(self.handlers))
            raise Refused(405, "Method not allowed.", (f"expected {allowed}",), (("Allow", allowed),))
        return handler


def answer(body: Mapping[str, Any]) -> Response:
    """A JSON answer that nobody keeps."""
    return JSONResponse(body, headers=NO_STORE)


async def read_json(request: Request) -> Any:
    """The request's body, of at most 1 MiB within 30 s, as JSON. Its content type does not matter.

    Raises:
        Refused: Too large, too slow, or not JSON.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > BODY_LIMIT:
                    raise Refused(413, "The body is too large.", (f"expected at most {BODY_LIMIT // 1024} KiB",))
    except (TimeoutError, ClientDisconnect):
        raise Refused(408, "The body did not arrive.", (f"expected all of it within {BODY_SECONDS:.0f} s",)) from None
    try:
        return parse_text(bytes(content))
    except ConfigFileInvalid as error:
        raise Refused(400, f"Invalid JSON payload: {error.problems[0]}") from None
