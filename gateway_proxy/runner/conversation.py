"""The JSON-RPC conversation with one child, shared by all its callers: ids and progress tokens are re-minted on the way
in, and what comes back goes to the one it belongs to (see `hearing`). No process, no HTTP and no policy here.
"""

from collections.abc import Callable

import msgspec

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Call
from gateway_proxy.runner.envelope import Envelope
from gateway_proxy.runner.errors import WireClosed
from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.hearing import Hearing
from gateway_proxy.runner.ledger import ENDED, SERVER_ERROR, Ledger
from gateway_proxy.runner.outbox import Outbox


class Conversation:
    """All calls, questions and streams of one instance; `send` is the wire. Single event loop; nothing here waits."""

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
        self._ledger = Ledger(self._say, exclusive)
        self._hearing = Hearing(self._ledger, on_garbage, on_useful, on_hopeless)
        self.take_line = self._hearing.take_line
        self.close = self._ledger.close
        self.open_stream = self._ledger.open_stream

    @property
    def calls_in_flight(self) -> int:
        """Requests that the child has not answered yet."""
        return len(self._ledger.calls)

    @property
    def garbage_lines(self) -> int:
        """Lines of the child that were no message."""
        return self._hearing.garbage_lines

    @property
    def is_busy(self) -> bool:
        """True while a call is in flight or a GET stream is open."""
        return bool(self._ledger.calls or self._ledger.streams)

    def open_call(self, message: Envelope) -> Call:
        """Send a request to the child under an id of our own. End it with `end_call`.

        Raises:
            NotAnEnvelope: The method is no string.
            TooManyStreams: Too many calls are in flight.
            WireClosed, UnicodeEncodeError: From the wire.
        """
        self._ledger.check_room()
        call = Call(self._ledger.mint(), bytes(message["id"]), jsonrpc.method_of(message))
        message["id"] = jsonrpc.raw_number(call.number)
        if jsonrpc.may_hold(message.get("params"), b"progressToken"):
            call.raw_token = _swap_token(message, call.number)
        if self._ledger.is_closed:
            self._ledger.finish(call, jsonrpc.error_message(call.raw_id, SERVER_ERROR, ENDED))
            return call
        self._send(jsonrpc.write_envelope(message))
        self._ledger.calls[call.number] = call
        return call

    def end_call(self, call: Call) -> None:
        """The caller is done with it. A call that the child still works on is cancelled (MCP 2025-11-25, Cancellation).

        `initialize` must not be cancelled; its answer is simply not waited for.
        """
        if call.is_over:
            return
        self._ledger.calls.pop(call.number, None)
        call.is_over = True
        if not self._ledger.is_closed and call.method != "initialize":
            params = {"requestId": call.number}
            self._say(msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
        self._ledger.settle_questions(call)

    def notify(self, message: Envelope) -> None:
        """Pass a notification on. `cancelled` names the caller's id: it is translated when exactly one call has it."""
        if jsonrpc.method_of(message) == "notifications/cancelled":
            params = jsonrpc.params_of(message) or {}
            raw_id = bytes(params.get("requestId", b""))
            meant = [call for call in self._ledger.calls.values() if call.raw_id == raw_id]
            if len(meant) != 1:
                return
            params["requestId"] = jsonrpc.raw_number(meant[0].number)
            jsonrpc.replace_params(message, params)
        self._send(jsonrpc.write_envelope(message))

    def answer(self, message: Envelope) -> None:
        """Pass the gateway's answer to a question on to the child; an answer to no open question is ignored."""
        number = jsonrpc.integer_of(message["id"])
        question = self._ledger.questions.pop(number, None) if number is not None else None
        if question is not None:
            message["id"] = msgspec.Raw(question.raw_id)
            self._send(jsonrpc.write_envelope(message))

    def close_stream(self, stream: Outbox) -> None:
        """The reader of a GET stream is gone."""
        self._ledger.streams.discard(stream)

    def _say(self, message: bytes) -> None:
        """Send something that nobody waits for: a child that does not listen any more loses it."""
        try:
            self._send(message)
        except (WireClosed, UnicodeEncodeError):
            return


def _swap_token(message: Envelope, number: int) -> bytes | None:
    """Put `number` in the place of the progress token; the raw JSON that stood there, None when nothing did."""
    params = jsonrpc.params_of(message)
    meta = jsonrpc.find_meta(params)
    if params is None or meta is None or "progressToken" not in meta:
        return None
    taken = bytes(meta["progressToken"])
    meta["progressToken"] = jsonrpc.raw_number(number)
    jsonrpc.replace_meta(params, meta)
    jsonrpc.replace_params(message, params)
    return taken
