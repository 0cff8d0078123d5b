"""Requests of backends to a legacy client (sampling, elicitation, roots): asked on a call's stream, answered by a POST.

The answer may reach another worker than the one that waits; then it goes there by letter. A question's id names the
worker, and what it waits for is held against the session of whoever answers: a wrong, foreign, doubled or late answer
reaches nobody and is met with the same 202.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.envelope import ClientResponse
from gateway_proxy.router.messages import ServerRequest, Withdrawal
from gateway_proxy.sessions.mailbox import Letter, Mailbox

ANSWER: Final = "answer"
_ID: Final = re.compile(r"gw-([0-9a-f]{16})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Question:
    """What waits for an answer, and whose."""

    session: SessionRecord
    request: ServerRequest


class Questions:
    """The open questions of this worker by number."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._open: dict[int, Question] = {}
        self._count = 0
        mailbox.on(ANSWER, self._take)

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def of_call(self, session: SessionRecord) -> Iterator["CallQuestions"]:
        """The questions of one call; those still open when it ends are forgotten."""
        questions = CallQuestions(self, session)
        try:
            yield questions
        finally:
            for number in questions.numbers.values():
                self._open.pop(number, None)

    def add(self, session: SessionRecord, request: ServerRequest) -> int:
        """Know a question from now on, by the number returned."""
        self._count += 1
        self._open[self._count] = Question(session, request)
        return self._count

    def forget(self, number: int) -> bool:
        """Nobody waits for it any more; whether somebody did."""
        return self._open.pop(number, None) is not None

    def id_of(self, number: int) -> bytes:
        """The JSON-RPC id under which the client is asked."""
        return b'"gw-%b-%d"' % (self._mailbox.worker_id.encode("ascii"), number)

    async def hear(self, session: SessionRecord, response: ClientResponse) -> None:
        """A client answered: pass it to the worker that waits, which may be this one.

        Raises:
            StorageUnavailable: That worker cannot be reached now.
        """
        found = _ID.fullmatch(_text_of(response.id))
        if found is None:
            return
        letter = Letter(ANSWER, session.tenant_id, session.user_id, session.id, found[2], response.outcome)
        await self._mailbox.send(found[1], letter)

    async def _take(self, letter: Letter) -> None:
        question = self._open.get(int(letter.ref))
        if question is None:
            return
        session = question.session
        if (session.tenant_id, session.user_id, session.id) == (letter.tenant_id, letter.user_id, letter.session_id):
            del self._open[int(letter.ref)]
            await question.request.answer(letter.body)


class CallQuestions:
    """The questions of one call: our ids for the client, the backend's ids for the backend."""

    def __init__(self, questions: Questions, session: SessionRecord) -> None:
        self._questions = questions
        self._session = session
        self.numbers: dict[bytes, int] = {}

    def ask(self, request: ServerRequest) -> bytes:
        """The request as the client gets it, under an id of ours."""
        number = self._questions.add(self._session, request)
        self.numbers[request.id or b"#%d" % number] = number
        params = b"" if request.params is None else b',"params":' + request.params
        method = wire.to_json(request.method)
        return b'{"jsonrpc":"2.0","id":%b,"method":%b%b}' % (self._questions.id_of(number), method, params)

    def withdraw(self, withdrawal: Withdrawal) -> bytes | None:
        """The `notifications/cancelled` for a question that is still open; None when it is not."""
        number = self.numbers.pop(withdrawal.id, None)
        if number is None or not self._questions.forget(number):
            return None
        reason = b"" if withdrawal.reason is None else b',"reason":' + withdrawal.reason
        params = b'{"requestId":%b%b}' % (self._questions.id_of(number), reason)
        return b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":%b}' % params


def _text_of(raw_id: bytes) -> str:
    """A string id, however its characters were written; empty for a number, which we never issue."""
    return str(msgspec.json.decode(raw_id)) if raw_id[:1] == b'"' else ""
