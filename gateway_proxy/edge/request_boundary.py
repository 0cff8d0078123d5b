"""The outermost middleware: gives the request its id, counts its response, and is the boundary for unexpected errors.

A named boundary: the only place of the web process where `except Exception` is the rule, because whatever gets here is
a fault of ours that must end this one request with a clean answer. The log gets the place, never the message.
"""

from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_proxy.browser.content_security import PAGE_HEADERS, content_security_policy
from gateway_proxy.domain.ids import IdSeries
from gateway_proxy.edge.error_shapes import EdgeError, error_body
from gateway_proxy.edge.surfaces import SurfaceName, surface_of
from gateway_proxy.telemetry.logs import get_log
from gateway_proxy.telemetry.metrics import Metrics
from gateway_proxy.telemetry.request_context import REQUEST_ID

log = get_log(__name__)

SENTENCE: Final = "The gateway failed to handle this request. The operator finds it in the log under the request id."
FAILURE: Final = EdgeError(SENTENCE, -32603, "server_error", "internal_error", "server_error")


class RequestBoundary:
    """Binds the request id (X-Request-Id on the way out), counts responses, turns a crash into a 500 of the surface."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._ids = IdSeries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.next()
        REQUEST_ID.set(request_id)
        surface = surface_of(scope["path"])
        encoded = request_id.encode("ascii")
        started = False

        def send_counted(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", encoded)]
                self._metrics.responded(surface, message["status"])
            return send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception as error:
            log.error("request_failed", surface=surface, method=scope["method"], exc_info=error)
            if not started:
                await _send_failure(surface, request_id, send_counted)
            else:
                raise ConnectionAbortedError("response already started") from None


async def _send_failure(surface: SurfaceName, request_id: str, send: Send) -> None:
    body, media_type = failure_body(surface, request_id)
    headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    if surface == "pages":
        named = {**PAGE_HEADERS, "Content-Security-Policy": content_security_policy()}
        headers += [(name.lower().encode(), value.encode()) for name, value in named.items()]
    else:
        headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def failure_body(surface: SurfaceName, request_id: str) -> tuple[bytes, bytes]:
    """The 500 of a surface in that surface's own error shape: body and content type."""
    if surface == "pages":
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Something went wrong</title>'
            f"<h1>Something went wrong</h1><p>{SENTENCE}</p><p>Request id: <code>{request_id}</code></p></html>"
        )
        return page.encode(), b"text/html; charset=utf-8"
    return error_body(surface, FAILURE), b"application/json"
