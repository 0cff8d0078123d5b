"""The yardstick: Starlette in front, aiohttp behind, bytes and headers passed on, nothing checked.

`python -m benchmarks.peers.passthrough PORT UPSTREAM`.
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "host",
        "keep-alive",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """All headers but those of one hop (RFC 9110 §7.6.1)."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def make_app(upstream: str) -> Starlette:
    """The application in front of `upstream` (scheme, host and port). It knows nothing of MCP, so it streams."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield {"session": session}

    async def passed(request: Request) -> Response:
        answer = await request.state.session.post(
            upstream + request.url.path, data=await request.body(), headers=passed_on(request.headers)
        )

        async def chunks() -> AsyncIterator[bytes]:
            async with answer:
                async for chunk in answer.content.iter_any():
                    yield chunk

        return StreamingResponse(chunks(), answer.status, passed_on(answer.headers))

    return Starlette(routes=[Route("/{path:path}", passed, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        make_app(sys.argv[2]),
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
        timeout_keep_alive=120,  # as the gateway: opening 256 sessions takes longer than the default on a busy machine
    )
