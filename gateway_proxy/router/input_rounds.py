"""A backend of 2026-07-28 wants input of a client of the older era: the gateway asks, and sends the request again.

Such a backend answers `input_required` and is asked anew with the answers (SEP-2322, Multi Round-Trip Requests); the
client is asked by requests on its call's stream, as its own era has it. Nothing is kept between two rounds but this.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.caller import SERVER_REQUESTS, Caller
from gateway_proxy.backends.envelope import one_line, read_failure
from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.messages import OUTCOMES, Failure, Result, ServerRequest, UpstreamMessage
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import BackendMisbehaved

Start = Callable[[], Awaitable[Exchange | Result | Failure]]

MAX_ROUNDS: Final = 16
MAX_QUESTIONS: Final = 16
ANSWER_MISSING: Final = -32001
CAPABILITY_MISSING: Final = -32021
PAUSE_WITHOUT_QUESTION: Final = 0.5
_RESULT: Final = b'"result":'
_ERROR: Final = b'"error":'


class _Asked(msgspec.Struct):
    method: str
    params: Raw = Raw(b"")


class InputRequired(msgspec.Struct, rename="camel"):
    """What a result says that is none yet. Keys of `input_requests` are the backend's own."""

    result_type: str = ""
    input_requests: dict[str, _Asked] | None = None
    request_state: Raw = Raw(b"")


_decoder: Final = msgspec.json.Decoder(InputRequired)


class InputRounds:
    """The rounds of one request. Made for a request whose caller is of the older era, once it needs one."""

    def __init__(self, backend: Backend, caller: Caller, request: UpstreamRequest, start: Start) -> None:
        """`start` sends `request` as it is by then."""
        self._backend = backend
        self._request = request
        self._start = start
        self._declared = caller.declared()
        self._caller = caller
        self._count = 0
        self.final: Result | Failure = Failure(ANSWER_MISSING, "The rounds of input were not completed")
        self._answers: dict[str, asyncio.Future[bytes]] = {}

    async def run(self, required: InputRequired) -> AsyncGenerator[UpstreamMessage, None]:
        """Ask and send again until there is a `final`; what comes on the way.

        Raises:
            RelayError: As of the backend; also when it asks for ever.
        """
        while True:
            refusal = self._check(required)
            if refusal is not None:
                self.final = refusal
                return
            for question in self._ask(required):
                yield question
            unanswered = await self._take_answers(required)
            if unanswered is not None:
                self.final = unanswered
                return
            begun = await self._start()
            if isinstance(begun, OUTCOMES):
                self.final = begun
            else:
                try:
                    while not isinstance(message := await begun.receive(), OUTCOMES):
                        yield message
                    self.final = message
                finally:
                    await begun.close()
            again = find_input_required(self.final, self._caller)
            if again is None:
                return
            required = again

    def _check(self, required: InputRequired) -> Failure | None:
        """Whether the client can be asked this."""
        self._count += 1
        questions = required.input_requests or {}
        if self._count > MAX_ROUNDS or len(questions) > MAX_QUESTIONS:
            raise BackendMisbehaved(self._backend.name, "it asked its client too many questions during one call")
        for question in questions.values():
            missing = self._declared.missing_for(question.method, bytes(question.params))
            if missing or question.method not in SERVER_REQUESTS:
                data = msgspec.json.encode({"requiredCapabilities": missing or {"?": {}}})
                words = f"The server needs a client that supports {question.method[:64]!r}"
                return Failure(CAPABILITY_MISSING, words, data)
        return None

    def _ask(self, required: InputRequired) -> list[ServerRequest]:
        questions = required.input_requests or {}
        loop = asyncio.get_running_loop()
        self._answers = {key: loop.create_future() for key in questions}
        return [self._question(key, question) for key, question in questions.items()]

    async def _take_answers(self, required: InputRequired) -> Failure | None:
        """Wait for the answers and put them into the request; a Failure when the client gives none."""
        seconds = self._backend.timeout
        if self._answers:
            _, missing = await asyncio.wait(self._answers.values(), timeout=seconds)
            if missing:
                return Failure(ANSWER_MISSING, f"The client did not answer the server within {seconds:g} s")
        else:
            await asyncio.sleep(PAUSE_WITHOUT_QUESTION)
        responses: dict[str, Raw] = {}
        for key, answer in self._answers.items():
            outcome = answer.result()
            if outcome.startswith(_ERROR):
                return read_failure(Raw(outcome[len(_ERROR) :]))
            responses[key] = Raw(outcome[len(_RESULT) :])
        fields = self._request.fields
        fields.pop("requestState", None)
        fields["inputResponses"] = Raw(msgspec.json.encode(responses))
        if bytes(required.request_state):
            fields["requestState"] = required.request_state
        return None

    def _question(self, key: str, question: _Asked) -> ServerRequest:
        future = self._answers[key]

        async def answer(outcome: bytes) -> None:
            if not future.done():
                future.set_result(outcome)

        params = bytes(question.params)
        return ServerRequest(question.method, one_line(params) if params else None, answer, key.encode())


def find_input_required(message: Result | Failure, caller: Caller) -> InputRequired | None:
    """What the gateway has to ask in the backend's place; None for every real result, and for clients of its era."""
    if isinstance(message, Failure) or not message.modern or caller.modern or b'"input_required"' not in message.raw:
        return None
    try:
        required = _decoder.decode(message.raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return required if required.result_type == "input_required" else None
