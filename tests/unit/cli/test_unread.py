"""Clients that do not read, on real sockets and on both loops: the workers' uvloop, and asyncio's own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from gateway_proxy.cli.http_protocol import BoundedHttpProtocol
from gateway_proxy.cli.unread import Unread

Run = Callable[[Coroutine[Any, Any, None]], None]
BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
LARGE, SMALL = 16_000_000, 16_000


class Watched(BoundedHttpProtocol):
    """The same with clocks that a test can wait for."""

    unread_seconds = 0.2


class Leaving(BoundedHttpProtocol):
    """The same for a server that stops."""

    leaving_seconds = leaving_unread_seconds = 0.2


class Forgetful(Watched):
    """The same with a short keep-alive time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive: float = 0.2  # type: ignore[assignment] # whole seconds in its settings


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with as many bytes as the path says."""
    body = bytes(int(scope["path"][1:]))
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def running(protocol: type[BoundedHttpProtocol]) -> AsyncIterator[tuple[uvicorn.Server, socket.socket]]:
    """A server, and a client's socket that nobody reads from."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, http=protocol, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        with closing(socket.create_connection(server.servers[0].sockets[0].getsockname())) as client:
            client.setblocking(False)
            yield server, client
    finally:
        server.should_exit = True
        await serving


async def ask(server: uvicorn.Server, client: socket.socket, size: int, *, more: str = "") -> None:
    """Ask for so many bytes; the answer is complete, as far as the server is concerned, when this returns."""
    before = server.server_state.total_requests
    await asyncio.get_running_loop().sock_sendall(client, f"GET /{size} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    async with asyncio.timeout(5):
        while server.server_state.total_requests == before:
            await asyncio.sleep(0)


async def until_gone(server: uvicorn.Server) -> None:
    """Wait until the server holds no connection."""
    async with asyncio.timeout(5):
        while server.server_state.connections:
            await asyncio.sleep(0.01)


@BOTH_LOOPS
@pytest.mark.parametrize("more", ["", "Connection: close\r\n"], ids=["kept", "closed"])
def test_who_reads_nothing_of_a_complete_answer_is_hung_up_on(run: Run, more: str) -> None:
    """Security D3: also when nobody waits for the answer any more, and closing would wait for the client."""

    async def story() -> None:
        async with running(Watched) as (server, client):
            await ask(server, client, LARGE, more=more)
            assert server.server_state.connections
            await until_gone(server)

    run(story())


@BOTH_LOOPS
def test_the_rest_of_a_small_answer_is_not_waited_for_either(run: Run) -> None:
    """Security D3: too little waits to hold the server up, so it is the end of the keep-alive time that finds it."""

    async def story() -> None:
        async with running(Forgetful) as (server, client):
            await ask(server, client, SMALL)
            (connection,) = server.server_state.connections
            assert isinstance(connection, Forgetful)
            while connection.transport.get_write_buffer_size() == 0:
                await ask(server, client, SMALL)
            assert not connection.flow.write_paused
            await until_gone(server)

    run(story())


@BOTH_LOOPS
def test_a_server_that_stops_does_not_wait_for_who_does_not_read(run: Run) -> None:
    """Security O3: a deploy takes no longer for such a client."""

    async def story() -> None:
        async with running(Leaving) as (server, client):
            await ask(server, client, LARGE)
            server.should_exit = True
            await until_gone(server)

    run(story())


class Bell:
    """A loop whose alarms a test rings by hand."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], object]] = []

    def call_later(self, _: float, callback: Callable[[], object]) -> "Bell":
        """Wait for `ring`."""
        self._callbacks.append(callback)
        return self

    def cancel(self) -> None:
        """It is not to ring."""
        self._callbacks.clear()

    def ring(self) -> None:
        """The time has come."""
        self._callbacks.pop()()


@BOTH_LOOPS
def test_who_reads_however_slowly_is_waited_for(run: Run) -> None:
    """Security D3: a slow line is no attack. The kernel asks for more only when megabytes were read."""

    async def story() -> None:
        loop, bell = asyncio.get_running_loop(), Bell()
        gone, accepted = loop.create_future(), loop.create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set_result(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                gone.set_result(exc)

        server = await loop.create_server(Server, "127.0.0.1", 0)
        async with server:
            with closing(socket.create_connection(server.sockets[0].getsockname())) as client:
                client.setblocking(False)
                transport = await accepted
                transport.write(bytes(LARGE))
                transport.close()
                unread = Unread(transport, cast(asyncio.AbstractEventLoop, bell), 30.0)
                unread.watch()
                for _ in range(5):
                    read = 0
                    while read < 500_000:
                        read += len(await loop.sock_recv(client, 100_000))
                        await asyncio.sleep(0)  # the server's turn to write
                    bell.ring()
                    assert transport.get_write_buffer_size()
                    assert not gone.done()
                bell.ring()
                async with asyncio.timeout(5):
                    assert await gone is None
            unread.forget()

    run(story())
