"""Serves the demo tools over HTTP+SSE with the official SDK: `python -m tests.support.sse_backend PORT [HEADER VALUE]`.

With a header, requests without it are refused.
"""

import sys

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.demo.server import build_server


class NeedsHeader:
    """Refuses requests that lack a header."""

    def __init__(self, app: ASGIApp, name: bytes, value: bytes) -> None:
        self._app, self._pair = app, (name, value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._pair not in scope["headers"]:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


def main(port: int, *header: str) -> None:
    """Serve until killed."""
    app: ASGIApp = build_server().sse_app()
    if header:
        app = NeedsHeader(app, header[0].encode(), header[1].encode())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
