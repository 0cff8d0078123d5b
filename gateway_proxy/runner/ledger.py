"""Who is who on one child: calls by the number that the child knows them by, its open questions, the GET streams.

Bookkeeping only: nothing is read or written here but a refusal to a question that nobody can answer any more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Call, Question
from gateway_proxy.runner.errors import TooManyStreams
from gateway_proxy.runner.outbox import Outbox

CALLS_IN_FLIGHT: Final = 1024
STREAMS_OPEN: Final = 256
QUESTIONS_OPEN: Final = 1024
SERVER_ERROR: Final = -32000
ENDED: Final = "backend process ended"


@dataclass(slots=True)
class Ledger:
    """`say` sends bytes to the child and loses them when it does not listen. `exclusive`: all calls are of one session.

    Numbers are minted once per instance for calls and questions alike, and never used again.
    """

    say: Callable[[bytes], None]
    exclusive: bool = False
    calls: dict[int, Call] = field(default_factory=dict)
    questions: dict[int, Question] = field(default_factory=dict)
    streams: set[Outbox] = field(default_factory=set)
    is_closed: bool = False
    last_number: int = 0

    def mint(self) -> int:
        """A number that the child has not seen yet."""
        self.last_number += 1
        return self.last_number

    def check_room(self) -> None:
        """Raises TooManyStreams when no further call may be opened."""
        if len(self.calls) >= CALLS_IN_FLIGHT:
            raise TooManyStreams

    def find_call(self, raw: msgspec.Raw | None) -> Call | None:
        """The call in flight behind an id, progress token or subscription id of the child; None for any other."""
        number = jsonrpc.integer_of(raw) if raw is not None else None
        return self.calls.get(number) if number is not None else None

    def only_call(self) -> Call | None:
        """The call that something unaddressed belongs to: the only one, or the latest when all are of one session."""
        if len(self.calls) == 1 or (self.exclusive and self.calls):
            return next(reversed(self.calls.values()))
        return None

    def only_stream(self) -> Outbox | None:
        """The GET stream of the one session that this child belongs to."""
        return next(iter(self.streams)) if self.exclusive and len(self.streams) == 1 else None

    def finish(self, call: Call, message: bytes) -> None:
        """The call has its response."""
        self.calls.pop(call.number, None)
        call.is_over = True
        call.outbox.finish(message)
        self.settle_questions(call)

    def settle_questions(self, call: Call) -> None:
        """The child must not wait for an answer that nobody can give any more."""
        for number, question in list(self.questions.items()) if self.questions else ():
            if question.call is call:
                del self.questions[number]
                self.refuse(question.raw_id, "the call that it belonged to has ended")

    def refuse(self, raw_id: bytes, reason: str) -> None:
        """Answer a question of the child with an error."""
        if not self.is_closed:
            self.say(jsonrpc.error_message(raw_id, SERVER_ERROR, reason))

    def open_stream(self) -> Outbox:
        """A GET stream. Raises TooManyStreams."""
        if len(self.streams) >= STREAMS_OPEN:
            raise TooManyStreams
        stream = Outbox()
        if self.is_closed:
            stream.finish()
        self.streams.add(stream)
        return stream

    def close(self) -> None:
        """The child has ended: every call gets an error, every stream ends."""
        self.is_closed = True
        for call in list(self.calls.values()):
            self.finish(call, jsonrpc.error_message(call.raw_id, SERVER_ERROR, ENDED))
        self.questions.clear()
        for stream in self.streams:
            stream.finish()
