"""A worker that is told to stop lets in who has connected already."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway_proxy.cli.http_protocol import BoundedHttpProtocol
from gateway_proxy.cli.worker_process import WorkerServer


async def greet(_: Request) -> Response:
    return PlainTextResponse("hello")


async def stop_with_somebody_at_the_door() -> bytes:
    """What one is told who connected and asked while the worker had no turn, and whom it has not accepted yet."""
    app = Starlette(routes=[Route("/", greet)])
    server = WorkerServer(uvicorn.Config(app, http=BoundedHttpProtocol, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await server.shutdown([listener])
            return client.recv(4096)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_has_connected_when_the_order_to_stop_comes_is_answered(
    run: Callable[[Coroutine[Any, Any, bytes]], bytes],
) -> None:
    """Security F11: a deploy loses no call, on a busy machine neither."""
    answer = run(stop_with_somebody_at_the_door())

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
