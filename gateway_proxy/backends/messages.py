"""What comes back from a backend while a request is under way. Raw fields are JSON bytes without line breaks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class Notification:
    """A complete JSON-RPC notification for the caller; its progress token is the caller's own."""

    raw: bytes


@dataclass(slots=True)
class Result:
    """The `result` value of the response. `modern` says that the backend speaks 2026-07-28 (it has a resultType).

    `backend_id` names the backend to which a `requestState` in it belongs.
    """

    raw: bytes
    modern: bool = False
    backend_id: str = field(default="", compare=False)


@dataclass(slots=True)
class Failure:
    """A JSON-RPC error of the backend, passed on. `data` is raw JSON."""

    code: int
    message: str
    data: bytes | None = None


OUTCOMES: Final = (Result, Failure)
"""For `isinstance`: written `Result | Failure` there, a union is made each time."""


@dataclass(slots=True)
class ServerRequest:
    """A request of the backend to the client (sampling, elicitation, roots), for a caller that declared it.

    Exactly one `answer` is owed: the complete `"result":…` or `"error":…` member, as bytes. It may come from another
    task; the call stays under way meanwhile. `id` is the backend's own, for a later `Withdrawal`.
    """

    method: str
    params: bytes | None
    answer: Callable[[bytes], Awaitable[None]]
    id: bytes = b""

    async def refuse(self, code: int, message: str) -> None:
        """Answer with a JSON-RPC error. `message` is one of our own phrases."""
        await self.answer(b'"error":{"code":%d,"message":"%s"}' % (code, message.encode("ascii")))


@dataclass(slots=True)
class Withdrawal:
    """The backend no longer waits for the answer to the ServerRequest with this id. `reason` is a raw JSON string."""

    id: bytes
    reason: bytes | None = None


@dataclass(slots=True)
class Pause:
    """The backend hung up before the response and wants to be asked again later (2025-11-25, SEP-1699): we do that.

    It comes before the wait, so that a client that can do the same may be let go for as long.
    """


@dataclass(slots=True)
class Announcement:
    """A notification that belongs to no call: `params` is raw JSON, empty when there are none."""

    method: str
    params: bytes = b""


BEGUN: Final = Announcement("")
"""Comes before the first announcement where it is asked for: from now on nothing is missed that a backend says."""


UpstreamMessage = Notification | ServerRequest | Withdrawal | Pause | Result | Failure
