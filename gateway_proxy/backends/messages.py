"""What comes back from a backend while a request is under way. Raw fields are JSON bytes without line breaks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Notification:
    """A complete JSON-RPC notification for the caller; its progress token is the caller's own."""

    raw: bytes


@dataclass(slots=True)
class Result:
    """The `result` value of the response. `modern` says that the backend speaks 2026-07-28 (it has a resultType)."""

    raw: bytes
    modern: bool = False


@dataclass(slots=True)
class Failure:
    """A JSON-RPC error of the backend, passed on. `data` is raw JSON."""

    code: int
    message: str
    data: bytes | None = None


@dataclass(slots=True)
class ServerRequest:
    """A request of the backend to the client (sampling, elicitation, roots), for a caller that declared it.

    Exactly one `answer` is owed: the complete `"result":…` or `"error":…` member, as bytes. It may come from another
    task; the call stays under way meanwhile.
    """

    method: str
    params: bytes | None
    answer: Callable[[bytes], Awaitable[None]]

    async def refuse(self, code: int, message: str) -> None:
        """Answer with a JSON-RPC error. `message` is one of our own phrases."""
        await self.answer(b'"error":{"code":%d,"message":"%s"}' % (code, message.encode("ascii")))


UpstreamMessage = Notification | ServerRequest | Result | Failure
