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


async def stop_and_connect(turns: int) -> bytes | None:
    """What one is told who connects and asks so many turns after the order to stop; None when nobody listens any more.

    That it all happens in one thread makes the worker one that has no turn meanwhile.
    """
    app = Starlette(routes=[Route("/", greet)])
    server = WorkerServer(uvicorn.Config(app, http=BoundedHttpProtocol, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        stopping = asyncio.create_task(server.shutdown([listener]))
        for _ in range(turns):
            await asyncio.sleep(0)
        try:
            with socket.create_connection(address, timeout=10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await stopping
                return client.recv(4096)
        except ConnectionRefusedError:
            await stopping
            return None


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_has_connected_is_answered_whenever_the_order_to_stop_came(
    run: Callable[[Coroutine[Any, Any, bytes | None]], bytes | None],
) -> None:
    """Security F11: a deploy loses no call, on a busy machine neither."""
    answers = [run(stop_and_connect(turns)) for turns in range(8)]

    assert all(answer is None or answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers), answers
    assert answers[0] is not None
    assert answers[-1] is None
