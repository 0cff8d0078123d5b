"""What a backend asks its client: out on the stream of the call, back by a POST to any worker."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig
from gateway_proxy.router.messages import Notification, Result, ServerRequest, Withdrawal
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.memory_mailbox import MemoryMailbox, PostOffice
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.opening import Crossing
from tests.support.asgi import AsgiClient, Conversation
from tests.support.clock import FakeClock
from tests.support.fake_router import FakeToolCalls
from tests.unit.mcp_endpoint.conftest import ECHO, PROGRESS, McpClient, context, make_endpoint, request

CAPABILITIES: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
LOG = Notification(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"l"}}')


@dataclass
class Asker:
    """A backend that asks and waits."""

    answers: list[bytes] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, outcome: bytes) -> None:
        self.answers.append(outcome)
        self.answered.set()

    def ask(self, upstream_id: bytes = b"7", method: str = "elicitation/create") -> ServerRequest:
        """One question."""
        return ServerRequest(method, b'{"message":"?","x":1.50}', self.take, upstream_id)

    async def wait(self) -> None:
        """Until it is answered."""
        await self.answered.wait()


@dataclass
class TwoWorkers:
    """Two workers of one gateway: the first serves the calls, the second is where else a POST may land."""

    first: McpEndpoint
    second: McpEndpoint
    calls: FakeToolCalls

    def client(self, worker: McpEndpoint, **headers: str) -> McpClient:
        """Ann at one worker."""
        asgi = AsgiClient(worker, {"tenant_context": context()})
        return McpClient(asgi, {name.replace("_", "-"): value for name, value in headers.items()})

    async def open(self, capabilities: Any = CAPABILITIES) -> tuple[McpClient, McpClient]:
        """A session, as both workers see it."""
        params = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": {}}
        opened = await self.client(self.first).call("initialize", params)
        session_id = opened.headers["mcp-session-id"]
        return tuple(self.client(each, mcp_session_id=session_id) for each in (self.first, self.second))  # type: ignore[return-value]


@pytest.fixture
def asker() -> Asker:
    """The backend."""
    return Asker()


@pytest.fixture
def workers(sessions: MemorySessionStore, clock: FakeClock, config: EndpointConfig, asker: Asker) -> TwoWorkers:
    """`ask` asks between a progress report and a log message."""
    calls = FakeToolCalls(scripts={"ask": [PROGRESS, asker.ask(), LOG, asker.wait, ECHO]})
    office, event_log = PostOffice(), MemoryEventLog(clock)
    first, second = (
        make_endpoint(calls, sessions, clock, config, Crossing(MemoryMailbox(office), event_log)) for _ in range(2)
    )
    return TwoWorkers(first, second, calls)


async def asked(conversation: Conversation) -> dict[str, Any]:
    """Read on until the question has come."""
    await conversation.until_body(b"elicitation/create")
    body = conversation.seen[-1]["body"]
    question: dict[str, Any] = json.loads(body.split(b"data: ")[1])
    return question


def answer(question: dict[str, Any], **result: Any) -> dict[str, Any]:
    """The client's response."""
    return {"jsonrpc": "2.0", "id": question["id"], "result": result or {"action": "accept"}}


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_an_answer_reaches_the_call_that_asked_from_any_worker(
    workers: TwoWorkers, asker: Asker, elsewhere: bool
) -> None:
    """relay.md 3: the answer is another POST that may reach another worker."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    assert question["params"] == {"message": "?", "x": 1.5}
    assert isinstance(question["id"], str)
    reply = await (there if elsewhere else here).post(answer(question, action="accept", content={"n": 1.50}))
    assert (reply.status, reply.body) == (202, b"")
    final = await conversation.reply()
    assert asker.answers == [b'"result":{"action": "accept", "content": {"n": 1.5}}']
    methods = [event.get("method", "result") for event in final.events]
    assert methods == ["notifications/progress", "elicitation/create", "notifications/message", "result"]


async def test_a_refusal_of_the_client_is_passed_on_as_it_is(workers: TwoWorkers, asker: Asker) -> None:
    """JSON-RPC 2.0 §5.1: the error member goes back whole."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    error = {"code": -1, "message": "User rejected", "data": {"why": 1}}
    assert (await there.post({"jsonrpc": "2.0", "id": question["id"], "error": error})).status == 202
    await conversation.reply()
    assert json.loads(b"{" + asker.answers[0] + b"}") == {"error": error}


async def test_wrong_foreign_and_doubled_answers_reach_nobody_and_look_alike(
    workers: TwoWorkers, asker: Asker, connect: Any
) -> None:
    """Bound to tenant, user and session; the sender learns nothing."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    other_session = (await workers.open())[1]
    head, _, number = question["id"].rpartition("-")
    replies = [
        await there.post(answer({"id": wrong}))
        for wrong in (1, "1", "gw-1", f"{head}-{int(number) + 1}", "gw-0123456789abcdef-1", question["id"] + "0" * 20)
    ]
    replies.append(await other_session.post(answer(question)))
    replies.append(await workers.client(workers.second).post(answer(question)))
    assert {(reply.status, reply.body) for reply in replies} == {(202, b"")}
    assert asker.answers == []

    await there.post(answer(question, action="decline"))
    await here.post(answer(question, action="accept"))
    await conversation.reply()
    assert asker.answers == [b'"result":{"action": "decline"}']


async def test_another_users_session_cannot_answer(workers: TwoWorkers, asker: Asker) -> None:
    """Security S1: a foreign session is an unknown one."""
    here, _ = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    bob = replace(here, asgi=AsgiClient(workers.second, {"tenant_context": context(user="bob")}))
    assert (await bob.post(answer(question))).status == 404
    assert asker.answers == []
    conversation.hang_up()
    await conversation.task


async def test_a_question_ends_with_its_call(workers: TwoWorkers, asker: Asker) -> None:
    """A client that is gone is not waited for, and a late answer reaches nobody."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    conversation.hang_up()
    async with asyncio.timeout(5):
        await conversation.task
    assert workers.calls.closed == ["ask"]
    assert (await there.post(answer(question))).status == 202
    assert asker.answers == []


async def test_a_question_that_the_backend_takes_back_is_cancelled_under_our_id(
    workers: TwoWorkers, asker: Asker
) -> None:
    """MCP 2025-11-25, Cancellation: either side may cancel what it asked."""
    release = asyncio.Event()
    script: list[Any] = [asker.ask(b'"up"'), Withdrawal(b'"other"'), Withdrawal(b'"up"', b'"late"'), release.wait, ECHO]
    workers.calls.scripts["ask"] = script
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    question = await asked(conversation)
    await conversation.until_body(b"notifications/cancelled")
    await there.post(answer(question))
    release.set()
    events = (await conversation.reply()).events
    assert events[1]["params"] == {"requestId": question["id"], "reason": "late"}
    assert len(events) == 3
    assert asker.answers == []


@pytest.mark.parametrize("reason", ["no capability", "no stream", "no session"])
async def test_a_client_that_cannot_be_asked_is_not(workers: TwoWorkers, asker: Asker, reason: str) -> None:
    """Its backends are not told of the capability; should one ask all the same, it is refused at once."""
    here, _ = await workers.open({} if reason == "no capability" else CAPABILITIES)
    client = workers.client(workers.first) if reason == "no session" else here
    headers = {"accept": "application/json"} if reason == "no stream" else {}
    reply = await client.call("tools/call", {"name": "ask"}, **headers)
    assert b"elicitation/create" not in reply.body
    assert asker.answers == [b'"error":{"code":-32601,"message":"the client cannot be asked"}']
    assert not workers.calls.calls[-1].caller.relays_server_requests


async def test_a_client_that_declared_it_is_announced_as_one(workers: TwoWorkers, asker: Asker) -> None:
    """relay.md 6: the caller's own capabilities are what the backend is told."""
    here, _ = await workers.open({"roots": {}})
    asker.answered.set()
    await here.call("tools/call", {"name": "ask"})
    assert workers.calls.calls[-1].caller.relays_server_requests


async def test_a_call_is_cancelled_from_another_worker(workers: TwoWorkers, asker: Asker) -> None:
    """relay.md 8: `notifications/cancelled` reaches the backend, wherever it arrives."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}, request_id="c1"))
    await asked(conversation)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c1"}}
    stranger = (await workers.open())[1]
    assert (await stranger.post(note)).status == 202
    assert workers.calls.closed == []
    assert (await there.post(note)).status == 202
    assert (await conversation.reply()).events[-1]["error"]["code"] == -32800
    assert workers.calls.closed == ["ask"]


async def test_a_delete_ends_the_calls_of_every_worker(workers: TwoWorkers, asker: Asker) -> None:
    """issue 3: tombstones everywhere, at once."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "ask"}))
    await asked(conversation)
    stream = here.open("GET")
    await stream.until_body(b": ping")
    assert (await there.send("DELETE")).status == 204
    assert "ended" in (await conversation.reply()).events[-1]["error"]["message"]
    async with asyncio.timeout(5):
        await stream.task


async def test_a_change_of_roots_is_told_to_the_backends(workers: TwoWorkers) -> None:
    """MCP 2025-11-25, Roots: the client's notification goes on to those that asked for roots."""
    here, _ = await workers.open()
    assert (await here.post({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})).status == 202
    [(caller, method)] = workers.calls.notified
    assert method == "notifications/roots/list_changed"
    assert caller.session_id == here.headers["mcp-session-id"]


async def test_results_are_not_mistaken_for_questions(workers: TwoWorkers) -> None:
    """Nothing is kept for a plain call."""
    workers.calls.scripts["plain"] = [Result(ECHO.raw)]
    here, _ = await workers.open()
    assert not (await here.call("tools/call", {"name": "plain"})).is_stream
