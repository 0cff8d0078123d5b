"""The yardstick: Starlette in front, aiohttp behind, bytes and headers passed on, nothing checked.

`python -m benchmarks.peers.passthrough PORT UPSTREAM`.
"""

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

PASSED: Final = ("content-type", "accept", "mcp-protocol-version", "mcp-session-id", "authorization")
RETURNED: Final = ("content-type", "mcp-session-id")


def make_app(upstream: str) -> Starlette:
    """The application in front of `upstream` (scheme, host and port)."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield {"session": session}

    async def passed(request: Request) -> Response:
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        body = await request.body()
        answer = await request.state.session.post(upstream + request.url.path, data=body, headers=headers)
        returned = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            async with answer:
                return Response(await answer.read(), answer.status, returned)

        async def chunks() -> AsyncIterator[bytes]:
            async with answer:
                async for chunk in answer.content.iter_any():
                    yield chunk

        return StreamingResponse(chunks(), answer.status, returned)

    return Starlette(routes=[Route("/{path:path}", passed, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        make_app(sys.argv[2]),
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
    )
