"""The JSON-RPC conversation with one child, shared by all its callers: ids and progress tokens are re-minted, what
comes back goes to the one it belongs to.

stdio and HTTP+SSE have one channel for everybody, so the rules are (relay.md 3):

* A response goes to the call of its id; progress to the call of its token; a subscription's notification to the call
  of its subscription id. An id or token that we did not mint, or that is spent, reaches nobody.
* Another request or log message of the child is passed on only when exactly one call is in flight, or when all calls
  are of one MCP session (`exclusive`). Otherwise a request is answered with an error and never guessed.
* list_changed and resource updates belong to no call: every GET stream gets them.
* A reader that does not keep up loses progress and log messages, never its result; a GET stream or subscription, where
  a lost change could not be noticed, is ended instead.

No process, no HTTP and no policy here; `send` is the wire.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Call, Question
from gateway_proxy.runner.envelope import Envelope, NotAnEnvelope
from gateway_proxy.runner.errors import TooManyStreams, WireClosed
from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.outbox import Outbox

CALLS_IN_FLIGHT: Final = 1024
STREAMS_OPEN: Final = 256
QUESTIONS_OPEN: Final = 1024
SERVER_ERROR: Final = -32000
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
HANDSHAKES: Final = ("initialize", "server/discover", "ping")
_BROADCAST: Final = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)


class Conversation:
    """All calls, questions and streams of one instance. Single event loop; every method returns at once but `take`s."""

    def __init__(
        self,
        *,
        send: Callable[[bytes], None],
        on_garbage: Callable[[bytes | Oversized], None],
        on_useful: Callable[[], None],
        on_hopeless: Callable[[], None],
        exclusive: bool = False,
    ) -> None:
        self._send = send
        self._on_garbage = on_garbage
        self._on_useful = on_useful
        self._on_hopeless = on_hopeless
        self._exclusive = exclusive
        self._calls: dict[int, Call] = {}
        self._questions: dict[int, Question] = {}
        self._streams: set[Outbox] = set()
        self._last_number = 0
        self._closed = False
        self.garbage_lines = 0

    @property
    def calls_in_flight(self) -> int:
        """Requests that the child has not answered yet."""
        return len(self._calls)

    @property
    def is_busy(self) -> bool:
        """True while a call is in flight or a GET stream is open."""
        return bool(self._calls or self._streams)

    # --- what the gateway sends ---------------------------------------------------------------------------------------

    def open_call(self, message: Envelope) -> Call:
        """Send a request to the child under an id of our own. End it with `end_call`.

        Raises:
            NotAnEnvelope: The method is no string.
            TooManyStreams: Too many calls are in flight.
            WireClosed, UnicodeEncodeError: From the wire.
        """
        if len(self._calls) >= CALLS_IN_FLIGHT:
            raise TooManyStreams
        self._last_number += 1
        call = Call(self._last_number, bytes(message["id"]), jsonrpc.method_of(message))
        message["id"] = _raw_number(call.number)
        if jsonrpc.may_hold(message.get("params"), b"progressToken"):
            call.raw_token = _swap_meta(message, "progressToken", call.number)
        if self._closed:
            call.outbox.finish(jsonrpc.error_message(call.raw_id, SERVER_ERROR, "backend process ended"))
            return call
        self._send(jsonrpc.write_envelope(message))
        self._calls[call.number] = call
        return call

    def end_call(self, call: Call) -> None:
        """The caller is done with it. A call that the child still works on is cancelled (MCP 2025-11-25, Cancellation).

        `initialize` must not be cancelled; its answer is simply not waited for.
        """
        self._calls.pop(call.number, None)
        if not call.is_over and not self._closed and call.method != "initialize":
            self._say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call.number}})
        call.is_over = True
        self._settle_questions(call)

    def notify(self, message: Envelope) -> None:
        """Pass a notification on. `cancelled` names the caller's id: it is translated when exactly one call has it."""
        if jsonrpc.method_of(message) == "notifications/cancelled":
            params = jsonrpc.params_of(message) or {}
            raw_id = bytes(params.get("requestId", msgspec.Raw(b"")))
            meant = [call for call in self._calls.values() if call.raw_id == raw_id]
            if len(meant) != 1:
                return
            params["requestId"] = _raw_number(meant[0].number)
            jsonrpc.replace_params(message, params)
        self._send(jsonrpc.write_envelope(message))

    def answer(self, message: Envelope) -> None:
        """Pass the gateway's answer to a question on to the child; an answer to no open question is ignored."""
        number = jsonrpc.integer_of(message["id"])
        question = self._questions.pop(number, None) if number is not None else None
        if question is not None:
            message["id"] = msgspec.Raw(question.raw_id)
            self._send(jsonrpc.write_envelope(message))

    def open_stream(self) -> Outbox:
        """A GET stream, for what belongs to no call. Close it with `close_stream`."""
        if len(self._streams) >= STREAMS_OPEN:
            raise TooManyStreams
        stream = Outbox()
        if self._closed:
            stream.finish()
        self._streams.add(stream)
        return stream

    def close_stream(self, stream: Outbox) -> None:
        """The reader of a GET stream is gone."""
        self._streams.discard(stream)

    def close(self) -> None:
        """The child has ended: every call gets an error, every stream ends."""
        self._closed = True
        for call in list(self._calls.values()):
            self._finish(call, jsonrpc.error_message(call.raw_id, SERVER_ERROR, "backend process ended"))
        self._questions.clear()
        for stream in self._streams:
            stream.finish()

    # --- what the child sends -----------------------------------------------------------------------------------------

    def take_line(self, line: bytes | Oversized) -> None:
        """One line of the child. What is no JSON-RPC message is counted and kept for the log, and reaches nobody."""
        if isinstance(line, Oversized):
            self._take_oversized(line)
            return
        if not line.startswith(b"{") and not (line := line.strip()).startswith(b"{"):
            if line:
                self._take_garbage(line)
            return
        try:
            message = jsonrpc.read_envelope(line)
            kind = jsonrpc.kind_of(message)
            if kind == "response":
                self._take_response(message)
            elif kind == "request":
                self._take_request(message)
            else:
                self._take_notification(message)
        except (NotAnEnvelope, msgspec.MsgspecError):
            self._take_garbage(line)

    def _take_garbage(self, line: bytes) -> None:
        self.garbage_lines += 1
        self._on_garbage(line)

    def _take_response(self, message: Envelope) -> None:
        call = self._find_call(message["id"])
        if call is None:
            return
        if call.method not in HANDSHAKES:
            self._on_useful()
        message["id"] = msgspec.Raw(call.raw_id)
        self._finish(call, jsonrpc.write_envelope(message))

    def _take_request(self, message: Envelope) -> None:
        raw_id = bytes(message["id"])
        if jsonrpc.method_of(message) == "ping":
            self._reply(jsonrpc.result_message(raw_id, b"{}"))
            return
        call = self._only_call()
        stream = None if call is not None else self._only_stream()
        outbox = call.outbox if call is not None else stream
        if outbox is None or len(self._questions) >= QUESTIONS_OPEN:
            self._refuse(raw_id, "this request belongs to no single call in flight")
            return
        self._last_number += 1
        message["id"] = _raw_number(self._last_number)
        if outbox.put(jsonrpc.write_envelope(message)):
            self._questions[self._last_number] = Question(raw_id, call)
        else:
            self._refuse(raw_id, "the caller does not listen")

    def _take_notification(self, message: Envelope) -> None:
        method = jsonrpc.method_of(message)
        if method == "notifications/progress":
            self._take_progress(message)
        elif method == "notifications/cancelled":
            self._take_cancelled(message)
        elif not self._take_subscribed(message):
            call = None if method in _BROADCAST else self._only_call()
            line = jsonrpc.write_envelope(message)
            if call is not None:
                call.outbox.put(line)
            else:
                for stream in self._streams:
                    if not stream.put(line):
                        stream.drop()

    def _take_progress(self, message: Envelope) -> None:
        params = jsonrpc.params_of(message)
        call = self._find_call(params.get("progressToken")) if params is not None else None
        if params is None or call is None or call.raw_token is None:
            return
        params["progressToken"] = msgspec.Raw(call.raw_token)
        jsonrpc.replace_params(message, params)
        call.outbox.put(jsonrpc.write_envelope(message))

    def _take_subscribed(self, message: Envelope) -> bool:
        """A notification of `subscriptions/listen` (2026-07-28) names the listen request: it goes to that call."""
        if not jsonrpc.may_hold(message.get("params"), b"subscriptionId"):
            return False
        params = jsonrpc.params_of(message)
        meta = jsonrpc.find_meta(params)
        if params is None or meta is None or SUBSCRIPTION_ID not in meta:
            return False
        call = self._find_call(meta[SUBSCRIPTION_ID])
        if call is not None:
            meta[SUBSCRIPTION_ID] = msgspec.Raw(call.raw_id)
            jsonrpc.replace_meta(params, meta)
            jsonrpc.replace_params(message, params)
            if not call.outbox.put(jsonrpc.write_envelope(message)):
                call.outbox.drop()
        return True

    def _take_cancelled(self, message: Envelope) -> None:
        """The child takes a question back: the one who was asked is told, under the id that it knows."""
        params = jsonrpc.params_of(message) or {}
        raw_id = bytes(params.get("requestId", msgspec.Raw(b"")))
        for number, question in list(self._questions.items()):
            if question.raw_id == raw_id:
                del self._questions[number]
                params["requestId"] = _raw_number(number)
                jsonrpc.replace_params(message, params)
                outbox = question.call.outbox if question.call is not None else self._only_stream()
                if outbox is not None:
                    outbox.put(jsonrpc.write_envelope(message))
                return

    def _take_oversized(self, line: Oversized) -> None:
        """Fail the call whose answer was over the line cap; when nobody can tell whose it was, restart the child."""
        self.garbage_lines += 1
        number = line.find_id()
        call = self._calls.get(number) if number is not None else self._only_call()
        if call is not None:
            self._finish(call, jsonrpc.error_message(call.raw_id, SERVER_ERROR, "the backend's answer is too large"))
        elif number is None and self._calls:
            self._on_hopeless()

    # --- whose is it --------------------------------------------------------------------------------------------------

    def _find_call(self, raw: msgspec.Raw | None) -> Call | None:
        number = jsonrpc.integer_of(raw) if raw is not None else None
        return self._calls.get(number) if number is not None else None

    def _only_call(self) -> Call | None:
        if len(self._calls) == 1 or (self._exclusive and self._calls):
            return next(reversed(self._calls.values()))
        return None

    def _only_stream(self) -> Outbox | None:
        return next(iter(self._streams)) if self._exclusive and len(self._streams) == 1 else None

    def _finish(self, call: Call, message: bytes) -> None:
        self._calls.pop(call.number, None)
        call.is_over = True
        call.outbox.finish(message)
        self._settle_questions(call)

    def _settle_questions(self, call: Call) -> None:
        """The child must not wait for an answer that nobody can give any more."""
        for number, question in list(self._questions.items()) if self._questions else ():
            if question.call is call:
                del self._questions[number]
                if not self._closed:
                    self._refuse(question.raw_id, "the call that it belonged to has ended")

    def _refuse(self, raw_id: bytes, reason: str) -> None:
        self._reply(jsonrpc.error_message(raw_id, SERVER_ERROR, reason))

    def _say(self, message: dict[str, object]) -> None:
        self._reply(msgspec.json.encode(message))

    def _reply(self, message: bytes) -> None:
        """Send something that nobody waits for: a child that does not read any more loses it."""
        try:
            self._send(message)
        except (WireClosed, UnicodeEncodeError):
            return


def _raw_number(number: int) -> msgspec.Raw:
    return msgspec.Raw(b"%d" % number)


def _swap_meta(message: Envelope, name: str, number: int) -> bytes | None:
    """Put `number` in the place of `params._meta.<name>`; the raw JSON that stood there, None when nothing did."""
    params = jsonrpc.params_of(message)
    meta = jsonrpc.find_meta(params)
    if params is None or meta is None or name not in meta:
        return None
    taken = bytes(meta[name])
    meta[name] = _raw_number(number)
    jsonrpc.replace_meta(params, meta)
    jsonrpc.replace_params(message, params)
    return taken
