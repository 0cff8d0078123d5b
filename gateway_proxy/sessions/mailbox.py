"""Letters between workers: how an answer, a cancellation or a retry reaches the one worker that waits for it.

One protocol, two implementations (Redis, in-process), one suite for both. What a letter says is for those who write
and read it; nothing here knows MCP or HTTP.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway_proxy.domain.errors import LetterTooLarge
from gateway_proxy.domain.ids import new_id
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

MAX_BODY: Final = 4 * 1024 * 1024
WORKER_ID_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Letter:
    """One message for a worker. `ref` names what it is about there; `sender` is filled in by the mailbox.

    Tenant, user and session come from the verified request that caused the letter. Whoever reads it holds them against
    those of what `ref` names, so that a guessed `ref` opens nothing.
    """

    kind: str
    tenant_id: str
    user_id: str
    session_id: str | None
    ref: str
    body: bytes = b""
    sender: str = ""


Take = Callable[[Letter], Awaitable[None]]
"""Reads a letter; quick, because letters to a worker are read one after the other."""


class Mailbox(Protocol):
    """The letters of one worker. Letters from one worker to another arrive in order, and at most once.

    `send` and `broadcast` raise StorageUnavailable while letters cannot be carried, and LetterTooLarge for a body over
    `MAX_BODY`.
    """

    @property
    def worker_id(self) -> str:
        """The name under which others reach this worker; new with every start."""

    def on(self, kind: str, take: Take) -> None:
        """Who reads letters of this kind here."""

    async def send(self, worker_id: str, letter: Letter) -> bool:
        """Send to one worker, this one included; False when there is no such worker (any more)."""

    async def broadcast(self, letter: Letter) -> None:
        """Send to every other worker."""


def new_worker_id() -> str:
    """A name for a worker: 64 random bits, so that none is ever used twice."""
    return new_id()[:WORKER_ID_CHARACTERS]


class Pigeonholes:
    """Who reads what; shared by both implementations."""

    def __init__(self) -> None:
        self._takers: dict[str, Take] = {}

    def on(self, kind: str, take: Take) -> None:
        """See `Mailbox.on`."""
        self._takers[kind] = take

    async def deliver(self, letter: Letter) -> None:
        """Hand a letter to its reader. A kind that nobody reads is dropped: a newer worker may have sent it."""
        take = self._takers.get(letter.kind)
        if take is None:
            return
        try:
            await take(letter)
        except Exception:  # a boundary: one letter must not stop those behind it
            log.exception("letter_not_taken", kind=letter.kind)


def stamped(letter: Letter, sender: str) -> Letter:
    """The letter with its sender.

    Raises:
        LetterTooLarge: Its body is over the limit.
    """
    if len(letter.body) > MAX_BODY:
        raise LetterTooLarge(MAX_BODY)
    return replace(letter, sender=sender)
