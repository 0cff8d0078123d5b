"""Serve it: streamable HTTP on 127.0.0.1:PORT/mcp, or stdio without arguments."""

import argparse
import asyncio

import uvicorn
from mcp.server.stdio import stdio_server

from tests.support.everything.server import EverythingServer, MemoryEvents

RETRY_MILLISECONDS = 100


async def _serve_stdio() -> None:
    server = EverythingServer()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    """Read the arguments and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.everything", description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP instead of stdio")
    port = parser.parse_args().http
    if port is None:
        asyncio.run(_serve_stdio())
        return
    app = EverythingServer().streamable_http_app(event_store=MemoryEvents(), retry_interval=RETRY_MILLISECONDS)
    # h11 and not httptools: it drops the white space around a header value, as RFC 9110 §5.5 asks
    uvicorn.run(app, host="127.0.0.1", port=port, http="h11", log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
