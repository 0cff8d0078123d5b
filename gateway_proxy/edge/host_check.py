"""The Host check (DNS rebinding): a request must name the public host or a loopback name, else it is not for us.

Authorization never reads the Host header and no URL is made from it; this is a wall in front of that rule.
"""

from collections.abc import Awaitable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
EXEMPT: Final = frozenset({"/health", "/ready"})  # probes of an orchestrator address the container
BODY: Final = b'{"error":"This host is not served here. Use the public URL of the gateway."}'


class HostCheck:
    """Answers 421 when the Host header is missing, doubled, or names neither the public host nor a loopback name."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._netloc = urlsplit(public_url).netloc.encode("ascii")
        self._host = (urlsplit(public_url).hostname or "").encode("ascii")
        self._loopback = frozenset(name.encode("ascii") for name in LOOPBACK)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of whoever serves the request: nothing is left to do here behind it."""
        if scope["type"] != "http" or self._is_ours(scope) or scope["path"] in EXEMPT:
            return self._app(scope, receive, send)
        return self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

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
        return name == self._host or name in self._loopback
