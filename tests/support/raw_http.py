"""HTTP by hand over a socket: requests that no client library would send, for tests that attack."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Fields = Sequence[tuple[str, str]]
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class RawReply:
    """The first reply on a connection that was then closed; status 0 when there was none."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for field, value in self.headers if field.lower() == name), None)


async def send_raw(url: str, data: bytes, *, seconds: float = 10.0, address: str | None = None) -> bytes:
    """Send bytes and read until the server closes; `address` is where we come from (127.0.0.0/8)."""
    parts = urlsplit(url)
    local = (address, 0) if address is not None else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=local)
    received = b""
    try:
        async with asyncio.timeout(seconds):
            try:
                writer.write(data)
                await writer.drain()
            except ConnectionError:
                pass  # what it said before it hung up can be read all the same
            while piece := await reader.read(65536):
                received += piece
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


async def request(
    url: str,
    method: str,
    target: str,
    *,
    headers: Fields = (),
    body: bytes = b"",
    address: str | None = None,
) -> RawReply:
    """One request on a connection of its own. `target` and headers are sent as they are (latin-1)."""
    parts = urlsplit(url)
    fields = [("Host", parts.netloc), ("Connection", "close"), *headers]
    if body or method == "POST":
        fields.append(("Content-Length", str(len(body))))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return read_reply(await send_raw(url, head.encode("latin-1") + body, address=address))


def read_reply(data: bytes) -> RawReply:
    """Take a reply apart; a chunked body stays chunked."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return RawReply(int(first.split()[1]) if first else 0, fields, body)
