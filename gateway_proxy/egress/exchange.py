"""What every HTTP of ours offers, whatever carries it: send one request, own its reply until it is read or closed."""

import re
from collections.abc import Iterable
from typing import Final, Protocol

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?|")
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)


class RequestHeaders:
    """Headers checked once and kept in both forms that a sender may want; build it per session, not per call."""

    __slots__ = ("pairs", "wire")

    pairs: tuple[tuple[str, str], ...]
    wire: bytes

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Framing headers (`Host`, `Content-Length`, …) belong to the sender and may not be among them.

        Raises:
            ValueError: A name or value that could break out of its line, naming the header.
        """
        self.pairs = tuple((name.lower(), value) for name, value in pairs)
        for name, value in self.pairs:
            if not _NAME.fullmatch(name) or name in _OURS:
                raise ValueError(f"header {name!r} may not be sent")
            if not _VALUE.fullmatch(value):
                raise ValueError(f"header {name!r} has a value that may not be sent")
        self.wire = "".join(f"{name}: {value}\r\n" for name, value in self.pairs).encode("latin-1")

    def plus(self, *pairs: tuple[str, str]) -> "RequestHeaders":
        """These headers and some more; a name that is given again replaces the former."""
        names = {name.lower() for name, _ in pairs}
        return RequestHeaders([*(pair for pair in self.pairs if pair[0] not in names), *pairs])


class Reply(Protocol):
    """The answer to one request. It owns its connection: read it to the end or `close()` it, always."""

    @property
    def status(self) -> int:
        """The HTTP status code."""

    @property
    def is_complete(self) -> bool:
        """Whether all of the body is known to have come, so that closing keeps the connection."""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""

    async def read_chunk(self, *, timeout: float) -> bytes | None:
        """The next bytes of the body, None at its end; waits at most `timeout` seconds for them.

        Raises:
            ReplyTimedOut, ReplyBroken: Nothing came, or the body ended half-way.
        """

    async def read(self, *, limit: int, timeout: float) -> bytes:
        """The whole body, at most `limit` bytes, within `timeout` seconds however it dribbles in.

        Raises:
            ReplyTooLarge, ReplyTimedOut, ReplyBroken: As said.
        """

    async def close(self) -> None:
        """Let go of the reply. An unread rest ends the connection, so that no other reply can be mixed with it."""


class Http(Protocol):
    """A way to send requests to one origin, with its own connections."""

    async def send(self, method: str, path: str, headers: RequestHeaders, body: bytes, *, timeout: float) -> Reply:
        """Send one request and wait at most `timeout` seconds for the head of its reply. Redirects are not followed.

        Raises:
            AddressForbidden, ConnectFailed: Nothing was sent.
            ReplyBroken, ReplyTimedOut, ReplyTooLarge: It may have been acted upon.
        """

    async def close(self) -> None:
        """Close all connections; replies under way end as broken."""

    def retire(self) -> None:
        """Take no new requests and let go of idle connections; replies under way are read to their end."""
