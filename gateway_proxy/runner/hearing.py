"""What a child says, and to whom it goes.

stdio and HTTP+SSE have one channel for everybody, so the rules are (relay.md 3):

* A response goes to the call of its id; progress to the call of its token; a subscription's notification to the call
  of its subscription id. An id or token that we did not mint, or that is spent, reaches nobody.
* Another request or log message is passed on only when exactly one call is in flight, or when all calls are of one
  MCP session. Otherwise a request is answered with an error and never guessed.
* list_changed and resource updates belong to no call: every GET stream gets them.
* A reader that does not keep up loses progress and log messages, never its result; a GET stream or subscription,
  where a lost change could not be noticed, is ended instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Question
from gateway_proxy.runner.envelope import Envelope, NotAnEnvelope
from gateway_proxy.runner.framing import Oversized, ends_of
from gateway_proxy.runner.ledger import QUESTIONS_OPEN, SERVER_ERROR, Ledger

SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
HANDSHAKES: Final = ("initialize", "server/discover", "ping")
_BOM: Final = b"\xef\xbb\xbf"
_BROADCAST: Final = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)


@dataclass(slots=True)
class Hearing:
    """Takes the lines of one child. `on_useful`: it answered a call; `on_hopeless`: its answer's owner is lost."""

    ledger: Ledger
    on_garbage: Callable[[bytes | Oversized], None]
    on_useful: Callable[[], None]
    on_hopeless: Callable[[], None]
    garbage_lines: int = 0

    def take_line(self, line: bytes | Oversized) -> None:
        """One line of the child. What is no JSON-RPC message is counted and kept for the log, and reaches nobody."""
        if isinstance(line, Oversized):
            self._take_oversized(line)
            return
        if not line.startswith(b"{") and not (line := line.strip().removeprefix(_BOM)).startswith(b"{"):
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
        """Keep it for the log; a call whose answer it was meant to be fails now and not when its time is over."""
        self.garbage_lines += 1
        self.on_garbage(line)
        if not self.ledger.calls or not line.startswith(b"{") or b'"method"' in line:
            return
        number = ends_of(line).find_id()
        call = self.ledger.calls.get(number) if number is not None else None
        if call is not None:
            refusal = jsonrpc.error_message(call.raw_id, SERVER_ERROR, "the backend's answer is not a JSON-RPC message")
            self.ledger.finish(call, refusal)

    def _take_oversized(self, line: Oversized) -> None:
        """Fail the call whose answer was over the line cap; when nobody can tell whose it was, give the child up."""
        self.garbage_lines += 1
        number = line.find_id()
        call = self.ledger.calls.get(number) if number is not None else self.ledger.only_call()
        if call is not None:
            refusal = jsonrpc.error_message(call.raw_id, SERVER_ERROR, "the backend's answer is too large")
            self.ledger.finish(call, refusal)
        elif number is None and self.ledger.calls:
            self.on_hopeless()

    def _take_response(self, message: Envelope) -> None:
        call = self.ledger.find_call(message["id"])
        if call is None:
            return
        if call.method not in HANDSHAKES:
            self.on_useful()
        message["id"] = msgspec.Raw(call.raw_id)
        self.ledger.finish(call, jsonrpc.write_envelope(message))

    def _take_request(self, message: Envelope) -> None:
        raw_id = bytes(message["id"])
        if jsonrpc.method_of(message) == "ping":
            self.ledger.say(jsonrpc.result_message(raw_id, b"{}"))
            return
        call = self.ledger.only_call()
        outbox = call.outbox if call is not None else self.ledger.only_stream()
        if outbox is None or len(self.ledger.questions) >= QUESTIONS_OPEN:
            self.ledger.refuse(raw_id, "this request belongs to no single call in flight")
            return
        number = self.ledger.mint()
        message["id"] = jsonrpc.raw_number(number)
        if outbox.put(jsonrpc.write_envelope(message)):
            self.ledger.questions[number] = Question(raw_id, call)
        else:
            self.ledger.refuse(raw_id, "the caller does not listen")

    def _take_notification(self, message: Envelope) -> None:
        method = jsonrpc.method_of(message)
        if method == "notifications/progress":
            self._take_progress(message)
        elif method == "notifications/cancelled":
            self._take_cancelled(message)
        elif not self._take_subscribed(message):
            call = None if method in _BROADCAST else self.ledger.only_call()
            line = jsonrpc.write_envelope(message)
            if call is not None:
                call.outbox.put(line)
                return
            for stream in self.ledger.streams:
                if not stream.put(line):
                    stream.drop()

    def _take_progress(self, message: Envelope) -> None:
        params = jsonrpc.params_of(message)
        call = self.ledger.find_call(params.get("progressToken")) if params is not None else None
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
        call = self.ledger.find_call(meta[SUBSCRIPTION_ID])
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
        raw_id = bytes(params.get("requestId", b""))
        for number, question in list(self.ledger.questions.items()):
            if question.raw_id == raw_id:
                del self.ledger.questions[number]
                params["requestId"] = jsonrpc.raw_number(number)
                jsonrpc.replace_params(message, params)
                outbox = question.call.outbox if question.call is not None else self.ledger.only_stream()
                if outbox is not None:
                    outbox.put(jsonrpc.write_envelope(message))
                return
