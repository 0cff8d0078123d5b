"""The Host check (DNS rebinding): a request must name the public host or a loopback name, else it is not for us.

Authorization never reads the Host header and no URL is made from it; this is a wall in front of that rule.
"""

from collections.abc import Awaitable, Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.edge.error_shapes import EdgeError, error_body
from gateway_proxy.edge.surfaces import surface_of

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
THIS_HOST: Final = frozenset({"host.docker.internal", "host.containers.internal"})
"""What a container calls the machine that it runs on: nobody outside can make these names lead anywhere."""

EXEMPT: Final = frozenset({"/health", "/ready"})  # probes of an orchestrator address the container
REFUSED: Final = EdgeError(
    "This host name is not served here. Use the public URL of the gateway; the operator can allow other names with "
    "GATEWAY_ALLOWED_HOSTS.",
    -32600,
    "invalid_request_error",
    "misdirected_request",
    "invalid_request",
)


class HostCheck:
    """Answers 421 when the Host header is missing, doubled, or names neither the public host nor one that is allowed.

    Loopback names and `THIS_HOST` always are; `allowed` are more of them, in lower case and without a port.
    """

    def __init__(self, app: ASGIApp, public_url: str, *, allowed: Collection[str] = ()) -> None:
        self._app = app
        self._netloc = urlsplit(public_url).netloc.encode("ascii")
        public = urlsplit(public_url).hostname or ""
        self._names = frozenset(name.encode("ascii") for name in {public, *LOOPBACK, *THIS_HOST, *allowed})

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of whoever serves the request: nothing is left to do here behind it."""
        if scope["type"] != "http" or self._is_ours(scope) or scope["path"] in EXEMPT:
            return self._app(scope, receive, send)
        return self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        body = error_body(surface_of(scope["path"]), REFUSED)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _is_ours(self, scope: Scope) -> bool:
        host: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return False
                host = value
        if host is None:
            return False
        return host == self._netloc or self._is_our_name(host.lower())

    def _is_our_name(self, host: bytes) -> bool:
        if host == self._netloc:
            return True
        name, colon, port = host.rpartition(b":")
        if not colon or not port.isdigit():
            name = host
        return name in self._names
