"""Whose is it: attribution on the one channel of a child."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Call
from gateway_proxy.runner.conversation import Conversation
from gateway_proxy.runner.errors import TooManyStreams, WireClosed
from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.ledger import CALLS_IN_FLIGHT, STREAMS_OPEN
from gateway_proxy.runner.outbox import Outbox


class Child:
    """What the child was sent, and a mouth for it."""

    def __init__(self, *, exclusive: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        self.garbage: list[bytes | Oversized] = []
        self.useful = 0
        self.hopeless = 0
        self.is_deaf = False
        self.talk = Conversation(
            send=self._hear,
            on_garbage=self.garbage.append,
            on_useful=self._count("useful"),
            on_hopeless=self._count("hopeless"),
            exclusive=exclusive,
        )

    def _hear(self, line: bytes) -> None:
        if self.is_deaf:
            raise WireClosed
        assert b"\n" not in line
        self.sent.append(json.loads(line))

    def _count(self, name: str) -> Callable[[], None]:
        return lambda: setattr(self, name, getattr(self, name) + 1)

    def says(self, **message: Any) -> None:
        """A line of the child."""
        self.talk.take_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def call(self, raw_id: Any = 1, method: str = "tools/call", **params: Any) -> Call:
        """A call of some client."""
        message = {"jsonrpc": "2.0", "id": raw_id, "method": method, "params": params}
        return self.talk.open_call(jsonrpc.read_envelope(json.dumps(message).encode()))

    def sends(self, **message: Any) -> None:
        """A notification or answer of some client."""
        envelope = jsonrpc.read_envelope(json.dumps({"jsonrpc": "2.0", **message}).encode())
        (self.talk.answer if "method" not in message else self.talk.notify)(envelope)


async def _read(outbox: Outbox) -> list[dict[str, Any]]:
    batch = await outbox.take(0.01)
    return [json.loads(message) for message in batch.messages] if batch else []


async def test_ids_and_tokens_of_two_callers_never_meet() -> None:
    """relay.md 1: two clients using id 1 and token 1."""
    child = Child()
    first, second = (child.call(1, name="a", _meta={"progressToken": 1, "x": "kept"}) for _ in range(2))
    ids = [message["id"] for message in child.sent]
    tokens = [message["params"]["_meta"] for message in child.sent]
    assert len(set(ids)) == 2
    assert tokens == [{"progressToken": ids[0], "x": "kept"}, {"progressToken": ids[1], "x": "kept"}]
    child.says(method="notifications/progress", params={"progressToken": ids[1], "progress": 2})
    child.says(id=ids[1], result={"of": "second"})
    child.says(id=ids[0], result={"of": "first"})
    assert [m.get("result") for m in await _read(second.outbox)] == [None, {"of": "second"}]
    assert [m["result"] for m in await _read(first.outbox)] == [{"of": "first"}]


async def test_a_token_spelt_with_escapes_is_reminted_too() -> None:
    """A caller must not be able to choose the token that the child sees: it could be another caller's."""
    child = Child()
    child.call(1)
    victim_token = child.sent[0]["id"]
    raw = b'{"jsonrpc":"2.0","id":2,"method":"m","params":{"_meta":{"progress\\u0054oken":%d}}}' % victim_token
    call = child.talk.open_call(jsonrpc.read_envelope(raw))
    assert child.sent[1]["params"]["_meta"]["progressToken"] == call.number != victim_token


@pytest.mark.parametrize("params", [[1], {"_meta": 5}, {"_meta": {"progressToken": None}}, {"text": "progressToken"}])
async def test_params_of_any_shape_pass(params: Any) -> None:
    """What we do not understand is the child's to refuse."""
    child = Child()
    message = {"jsonrpc": "2.0", "id": 1, "method": "m", "params": params}
    child.talk.open_call(jsonrpc.read_envelope(json.dumps(message).encode()))
    sent = child.sent[0]["params"]
    assert sent == params or sent == {"_meta": {"progressToken": child.sent[0]["id"]}}


async def test_answers_and_progress_that_we_did_not_ask_for_reach_nobody() -> None:
    """security.md incident 16."""
    child = Child()
    call = child.call()
    number = child.sent[0]["id"]
    for foreign in (number + 1, str(number) + "0", "x", None, -number, number + 0.5):
        child.says(id=foreign, result={})
        child.says(method="notifications/progress", params={"progressToken": foreign, "progress": 1})
    child.says(method="notifications/progress", params={"progressToken": number, "progress": 1})  # it asked for none
    assert await _read(call.outbox) == []


async def test_a_second_answer_to_a_call_reaches_nobody() -> None:
    """Numbers are never used again."""
    child = Child()
    first = child.call()
    child.says(id=1, result={"n": 1})
    second = child.call()
    child.says(id=1, result={"n": 2})
    assert [m["result"] for m in await _read(first.outbox)] == [{"n": 1}]
    assert await _read(second.outbox) == []
    assert child.sent[1]["id"] == 2


async def test_an_abandoned_call_is_cancelled_once_and_a_finished_one_never() -> None:
    """MCP 2025-11-25, Cancellation."""
    child = Child()
    abandoned, finished = child.call("a"), child.call("b")
    child.says(id=finished.number, result={})
    for call in (abandoned, abandoned, finished):
        child.talk.end_call(call)
    cancels = [message for message in child.sent if message["method"] == "notifications/cancelled"]
    assert [message["params"]["requestId"] for message in cancels] == [abandoned.number]
    child.says(id=abandoned.number, result={})
    assert await _read(abandoned.outbox) == []


async def test_initialize_is_never_cancelled() -> None:
    """MCP 2025-11-25, Cancellation: initialize MUST NOT be cancelled."""
    child = Child()
    child.talk.end_call(child.call(method="initialize"))
    assert [message["method"] for message in child.sent] == ["initialize"]


async def test_cancelled_reaches_the_child_only_when_it_can_mean_one_call() -> None:
    """Two workers may both say id 1."""
    child = Child()
    child.call(1)
    child.call("1")
    child.sends(method="notifications/cancelled", params={"requestId": 1, "reason": "r"})
    assert child.sent[-1]["params"] == {"requestId": 1, "reason": "r"}
    child.call(1)
    sent = len(child.sent)
    child.sends(method="notifications/cancelled", params={"requestId": 1})
    child.sends(method="notifications/cancelled", params={"requestId": "nobody's"})
    child.sends(method="notifications/cancelled")
    assert len(child.sent) == sent


async def test_a_question_is_passed_on_only_to_the_only_call() -> None:
    """relay.md 3: never guessed."""
    child = Child()
    child.says(id="q0", method="roots/list")
    assert child.sent[-1]["id"] == "q0"
    assert "error" in child.sent[-1]
    call = child.call("c")
    child.says(id="q1", method="elicitation/create", params={"message": "?"})
    (question,) = await _read(call.outbox)
    assert question["id"] != "q1"
    assert question["params"] == {"message": "?"}
    child.sends(id=question["id"], result={"action": "accept"})
    assert child.sent[-1] == {"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}}
    sent = len(child.sent)
    child.sends(id=question["id"], result={"action": "again"})
    child.sends(id="q1", result={})
    child.sends(id=call.number, result={})
    assert len(child.sent) == sent
    child.call("d")
    child.says(id="q2", method="elicitation/create")
    assert child.sent[-1]["id"] == "q2"
    assert "error" in child.sent[-1]


async def test_a_question_dies_with_its_call() -> None:
    """The child must not wait for an answer that nobody can give any more."""
    child = Child()
    call = child.call()
    child.says(id=5, method="sampling/createMessage")
    (question,) = await _read(call.outbox)
    child.talk.end_call(call)
    assert child.sent[-1]["id"] == 5
    assert "has ended" in child.sent[-1]["error"]["message"]
    sent = len(child.sent)
    child.sends(id=question["id"], result={})
    assert len(child.sent) == sent


async def test_a_question_that_is_taken_back_is_taken_back_under_its_new_id() -> None:
    """MCP 2025-11-25, Cancellation, from the server's side."""
    child = Child()
    call = child.call()
    child.says(id="q", method="elicitation/create")
    child.says(method="notifications/cancelled", params={"requestId": "q", "reason": "late"})
    child.says(method="notifications/cancelled", params={"requestId": "other"})
    question, cancelled = await _read(call.outbox)
    assert cancelled["params"] == {"requestId": question["id"], "reason": "late"}


async def test_a_child_of_one_session_may_ask_on_its_latest_call_or_on_its_stream() -> None:
    """A child that is shared by nobody cannot ask the wrong one."""
    child = Child(exclusive=True)
    stream = child.talk.open_stream()
    child.says(id=1, method="roots/list")
    first, second = child.call(), child.call()
    child.says(id=2, method="roots/list")
    assert [len(await _read(box)) for box in (stream, first.outbox, second.outbox)] == [1, 0, 1]


async def test_a_ping_is_answered_here() -> None:
    """MCP 2025-11-25, Ping."""
    child = Child()
    child.says(id="p", method="ping")
    assert child.sent == [{"jsonrpc": "2.0", "id": "p", "result": {}}]


async def test_changes_go_to_every_stream_and_logs_to_the_only_call() -> None:
    """relay.md 3, 7."""
    child = Child()
    streams = [child.talk.open_stream(), child.talk.open_stream()]
    call = child.call()
    child.says(method="notifications/tools/list_changed")
    child.says(method="notifications/resources/updated", params={"uri": "a:b"})
    child.says(method="notifications/message", params={"data": 1})
    second = child.call()
    child.says(method="notifications/message", params={"data": 2})
    for stream in streams:
        methods = [m["method"].split("/", 1)[1] for m in await _read(stream)]
        assert methods == ["tools/list_changed", "resources/updated", "message"]
    assert [m["params"]["data"] for m in await _read(call.outbox)] == [1]
    assert await _read(second.outbox) == []


async def test_notifications_of_a_subscription_go_to_its_listener() -> None:
    """MCP 2026-07-28, subscriptions/listen: tagged with the id of the listen request."""
    child = Child()
    listening, other = child.call("mine", method="subscriptions/listen"), child.call("other")
    meta = {"io.modelcontextprotocol/subscriptionId": listening.number, "x": 1}
    child.says(method="notifications/tools/list_changed", params={"_meta": meta})
    child.says(
        method="notifications/tools/list_changed",
        params={"_meta": {**meta, "io.modelcontextprotocol/subscriptionId": 99}},
    )
    (told,) = await _read(listening.outbox)
    assert told["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "mine", "x": 1}
    assert await _read(other.outbox) == []


async def test_a_stream_that_does_not_keep_up_is_ended_and_a_call_keeps_its_result() -> None:
    """security.md D3: a lost change could not be noticed; lost progress can be done without."""
    child = Child()
    stream = child.talk.open_stream()
    call = child.call(1, _meta={"progressToken": 1})
    for _ in range(30):
        child.says(method="notifications/resources/updated", params={"uri": "x" * 60_000})
        child.says(method="notifications/progress", params={"progressToken": call.number, "message": "x" * 60_000})
    child.says(id=call.number, result={})
    dropped, taken = await stream.take(), await call.outbox.take()
    assert dropped is not None
    assert dropped.dropped
    assert taken is not None
    assert len(taken.messages) < 25
    assert json.loads(taken.messages[-1])["result"] == {}


async def test_what_is_no_message_is_counted_and_kept() -> None:
    """relay.md 4."""
    child = Child()
    for line in (b"", b"  ", b"hello", b"{", b"[1]", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","method":5}', b"\xff{"):
        child.talk.take_line(line)
    child.says(method="notifications/progress", params=5)
    assert child.talk.garbage_lines == len(child.garbage) == 6


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"n":NaN}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"t": "\xff"}}',
        b'{"result":{},"error":{"code":-1,"message":"m"},"jsonrpc":"2.0","id":1}',
    ],
)
async def test_a_call_whose_answer_is_no_message_fails_at_once(line: bytes) -> None:
    """security.md F7: a clear error in bounded time; json.dumps of Python writes NaN unless told otherwise."""
    child = Child()
    mine, other = child.call("a"), child.call("b")
    child.talk.take_line(line.replace(b'"n":NaN', b'"method":NaN'))
    child.talk.take_line(line)
    [answer] = await _read(mine.outbox)
    assert (answer["id"], answer["error"]["code"]) == ("a", -32000)
    assert "not a JSON-RPC message" in answer["error"]["message"]
    child.says(id=2, result={})
    assert (await _read(other.outbox))[0]["id"] == "b"


async def test_a_byte_order_mark_does_not_cost_an_answer() -> None:
    """RFC 8259 §8.1: a parser may ignore it, and a child that writes one is otherwise unheard."""
    child = Child()
    call = child.call("a")
    child.talk.take_line(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":{}}')
    assert (await _read(call.outbox))[0]["id"] == "a"
    assert child.garbage == []


async def test_an_answer_over_the_cap_fails_its_call_or_the_child() -> None:
    """security.md P5."""
    child = Child()
    first, second = child.call("a"), child.call("b")
    child.talk.take_line(Oversized(b'{"jsonrpc":"2.0","id":%d,"result":' % first.number, b"}"))
    assert "too large" in (await _read(first.outbox))[0]["error"]["message"]
    child.talk.take_line(Oversized(b'{"jsonrpc":"2.0","id":999,"result":', b"}"))
    assert child.hopeless == 0
    third = child.call("c")
    child.talk.take_line(Oversized(b"?", b"?"))
    assert child.hopeless == 1
    child.talk.end_call(third)
    child.talk.take_line(Oversized(b"?", b"?"))
    assert "too large" in (await _read(second.outbox))[0]["error"]["message"]


async def test_when_the_child_ends_everybody_is_told_and_later_calls_at_once() -> None:
    """Issue 3: each call in flight gets an error."""
    child = Child()
    call, stream = child.call("a"), child.talk.open_stream()
    child.says(id=1, method="sampling/createMessage")
    child.talk.close()
    late, late_stream = child.call("late"), child.talk.open_stream()
    assert (await _read(call.outbox))[-1]["error"] == {"code": -32000, "message": "backend process ended"}
    assert (await _read(late.outbox))[-1] == {
        "jsonrpc": "2.0", "id": "late", "error": {"code": -32000, "message": "backend process ended"},
    }  # fmt: skip
    for ended in (stream, late_stream):
        batch = await ended.take()
        assert batch is not None
        assert batch.last


async def test_a_deaf_child_fails_the_call_and_nothing_else() -> None:
    """A child that does not read its stdin."""
    child = Child()
    call = child.call()
    child.is_deaf = True
    with pytest.raises(WireClosed):
        child.call()
    child.talk.end_call(call)
    child.says(id=1, method="ping")
    assert child.talk.calls_in_flight == 0


async def test_calls_and_streams_are_bounded() -> None:
    """Bounded queues everywhere."""
    child = Child()
    for _ in range(CALLS_IN_FLIGHT):
        child.call()
    with pytest.raises(TooManyStreams):
        child.call()
    for _ in range(STREAMS_OPEN):
        child.talk.open_stream()
    with pytest.raises(TooManyStreams):
        child.talk.open_stream()


async def test_only_answers_beyond_the_handshake_make_a_child_useful() -> None:
    """The breaker is reset by work, not by a greeting."""
    child = Child()
    for method in ("initialize", "ping", "server/discover"):
        child.says(id=child.call(method=method).number, result={})
    assert child.useful == 0
    child.says(id=child.call(method="tools/list").number, result={})
    assert child.useful == 1
