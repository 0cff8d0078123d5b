"""A gateway as one writes it with the `mcp` SDK: its server in front, one of its client sessions per backend behind.

`python -m benchmarks.peers.sdk_gateway PORT BACKEND_URL`.
"""

import sys
from typing import Any

import uvicorn
import uvloop
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server


async def serve(port: int, url: str) -> None:
    """Serve until stopped."""
    async with streamable_http_client(url) as streams, ClientSession(streams[0], streams[1]) as upstream:
        await upstream.initialize()

        async def list_tools(
            context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
        ) -> types.ListToolsResult:
            return await upstream.list_tools()

        async def call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> Any:
            return await upstream.call_tool(params.name, params.arguments)

        server: Server[Any] = Server("sdk-gateway", on_list_tools=list_tools, on_call_tool=call_tool)
        app = server.streamable_http_app(json_response=True)
        config = uvicorn.Config(
            app,
            port=port,
            log_level="warning",
            access_log=False,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            timeout_keep_alive=120,
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
