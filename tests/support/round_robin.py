"""A reverse proxy that gives each request to the next upstream, so that no two requests in a row meet one gateway.

It speaks just enough HTTP/1.1 for that: every connection carries one request, and bytes are passed on as they come.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence

HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@contextlib.asynccontextmanager
async def round_robin(port: int, upstreams: Sequence[str]) -> AsyncIterator[str]:
    """Serve on 127.0.0.1:`port` in front of `upstreams` (host:port each); yields the URL."""
    turns = itertools.cycle([[*upstreams[n:], *upstreams[:n]] for n in range(len(upstreams))])
    server = await asyncio.start_server(lambda *pair: _serve(next(turns), *pair), "127.0.0.1", port, limit=HEAD_BYTES)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


async def _connect(upstreams: Sequence[str]) -> tuple[Reader, Writer]:
    """A connection to the first upstream that takes one: nothing has been sent yet, so the next may be asked."""
    for upstream in upstreams:
        host, _, port = upstream.rpartition(":")
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(host, int(port))
    raise ConnectionRefusedError


async def _serve(upstreams: Sequence[str], client: Reader, answers: Writer) -> None:
    with contextlib.closing(answers), contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await client.readuntil(b"\r\n\r\n")
        upstream, requests = await _connect(upstreams)
        with contextlib.closing(requests):
            requests.write(_for_one_request(head))
            await _exchange(client, requests, upstream, answers)


def _for_one_request(head: bytes) -> bytes:
    """The head with `Connection: close`, so that the upstream ends the connection after its response."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _exchange(client: Reader, requests: Writer, upstream: Reader, answers: Writer) -> None:
    """Pass bytes both ways until either side has closed: a client that leaves takes its upstream connection along."""
    ways = [asyncio.create_task(_copy(client, requests)), asyncio.create_task(_copy(upstream, answers))]
    _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in rest:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)


async def _copy(source: Reader, target: Writer) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        target.write(chunk)
        await target.drain()
