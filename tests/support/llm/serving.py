"""Serves an ASGI app on a loopback port, in the test's own event loop."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from tests.support.loopback import serving


@asynccontextmanager
async def serve(app: ASGIApp) -> AsyncGenerator[str, None]:
    """Serve `app`; yields its base URL without a trailing slash."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False, ws="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(config, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
