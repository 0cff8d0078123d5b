"""Elicitation, sampling and roots through two workers: real backends, a real runner, Redis between the workers."""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from tests.support.clock import FakeClock
from tests.support.mcp_backends import Http, McpBackend, demo_backend, serve, text
from tests.support.mcp_workers import Call, McpWorker, open_workers, read_event
from tests.support.relay_rooms import http_backend, make_context, stdio_backend
from tests.support.runner import KEY, ROOT, running_runner
from tests.unit.mcp_endpoint.conftest import request

CAPABILITIES: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {"listChanged": True}}


def asking_backend() -> McpBackend:
    """A backend whose tool `ask` asks what its arguments say, and answers with what it was told."""
    backend = demo_backend()
    waiting: dict[str, asyncio.Future[Any]] = {}

    async def hear(http: Http) -> None:
        waiting[http.message["id"]].set_result(http.message.get("result", http.message.get("error")))
        await http.raw(202, b"")

    async def ask(http: Http) -> None:
        told = []
        for n, method in enumerate(http.params["arguments"]["methods"]):
            question_id = f"{http.message['id']}/{n}"
            answer = waiting[question_id] = asyncio.get_running_loop().create_future()
            await http.progress(n)
            params = {"message": http.params["arguments"]["who"], "x-vendor": 1.50}
            await http.event({"jsonrpc": "2.0", "id": question_id, "method": method, "params": params})
            told.append(await answer)
        await http.result(text(json.dumps(told)))

    async def hear_or_answer(http: Http) -> None:
        if http.message.get("method") is None and "id" in http.message:
            await hear(http)
        else:
            await http.raw(405, b"")

    backend.tools["ask"] = ask
    backend.handlers[""] = hear_or_answer
    return backend


def told(events: list[dict[str, Any]]) -> Any:
    """What the tool heard, from its result."""
    return json.loads(events[-1]["result"]["content"][0]["text"])


async def test_every_kind_of_question_is_answered_through_the_other_worker(redis_url: str, clock: FakeClock) -> None:
    """issue 3: sampling, elicitation and roots; strict round robin over two workers."""
    methods = ["elicitation/create", "sampling/createMessage", "roots/list"]
    async with (
        serve(asking_backend()) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session(CAPABILITIES)
        clients = [first.client(session_id=session_id), second.client(session_id=session_id)]
        call = Call(clients, lambda question: {"for": question["method"]})
        events = await call.run("calc__ask", {"who": "ann", "methods": methods}, token="p")
        assert told(events) == [{"for": method} for method in methods]
        assert [event.get("method", "result") for event in events] == [
            "notifications/progress", "elicitation/create",
            "notifications/progress", "sampling/createMessage",
            "notifications/progress", "roots/list",
            "result",
        ]  # fmt: skip
        assert all(question["params"] == {"message": "ann", "x-vendor": 1.5} for question in call.asked)


async def _converse(workers: list[McpWorker], user: str, numbers: range) -> int:
    """Calls of one session of a user, one after the other, every one with id 1 and token 1; how many went right."""
    ctx = make_context(user_id=user)
    session_id = await random.choice(workers).open_session(CAPABILITIES, ctx)
    clients = [worker.client(ctx, session_id) for worker in workers]
    for n in numbers:
        random.shuffle(clients)
        call = Call(clients, lambda question: {"action": "accept", "content": {"said": question["params"]["message"]}})
        events = await call.run("local__elicit", {"question": f"{user} {n}"}, request_id=1, token=1)
        progress, question, result = events
        assert progress["params"] == {"progressToken": 1, "progress": 1, "message": "elicit"}
        assert question["params"]["message"] == f"{user} {n}"
        assert result["id"] == 1
        heard = told(events)
        assert heard["question"] == f"{user} {n}"
        assert heard["told"]["result"] == {"action": "accept", "content": {"said": f"{user} {n}"}}
    return len(numbers)


async def test_two_users_of_one_stdio_backend_each_get_only_their_own(
    redis_url: str, clock: FakeClock, tmp_path: Path
) -> None:
    """issue 3, Done when: same JSON-RPC ids and progress tokens, 1,000 interleaved calls with elicitation.

    Four sessions of each user at once: everything under way at any moment has the id 1 and the token 1.
    """
    backend = stdio_backend(command=sys.executable, args=("-m", "tests.support.children.asker"), cwd=str(ROOT), env={})
    with running_runner(tmp_path) as runner:
        async with open_workers(redis_url, [backend], clock, runner=str(runner.socket), runner_key=KEY) as workers:
            async with asyncio.timeout(120):
                right = await asyncio.gather(
                    *(
                        _converse(workers, user, range(first, first + 125))
                        for user in ("ann", "bob")
                        for first in range(0, 500, 125)
                    )
                )
            assert sum(right) == 1000


async def test_a_call_is_cancelled_at_the_backend_from_another_worker(redis_url: str, clock: FakeClock) -> None:
    """relay.md 8: cancellation reaches the backend; here it also withdraws the question."""
    backend = asking_backend()
    async with (
        serve(backend) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session(CAPABILITIES)
        arguments = {"who": "ann", "methods": ["elicitation/create"]}
        conversation = first.client(session_id=session_id).begin(
            request("tools/call", {"name": "calc__ask", "arguments": arguments}, request_id="mine")
        )
        await read_event(conversation, "elicitation/create")
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "mine"}}
        await second.client(session_id=session_id).post(note)
        assert (await conversation.reply()).events[-1]["error"]["code"] == -32800
        async with asyncio.timeout(5):
            while not backend.calls("notifications/cancelled"):
                await asyncio.sleep(0.01)


async def test_changed_roots_are_told_to_the_backend_by_a_worker_that_never_called_it(
    redis_url: str, clock: FakeClock
) -> None:
    """The upstream session is in the store, so any worker can tell it."""
    backend = asking_backend()
    async with (
        serve(backend) as url,
        open_workers(redis_url, [http_backend(url)], clock) as (first, second),
    ):
        session_id = await first.open_session(CAPABILITIES)
        await first.client(session_id=session_id).call("tools/call", {"name": "calc__echo"})
        note = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
        await second.client(session_id=session_id).post(note)
        async with asyncio.timeout(5):
            while not backend.calls("notifications/roots/list_changed"):
                await asyncio.sleep(0.01)
        [(_, headers)] = backend.calls("notifications/roots/list_changed")
        [(_, calling)] = backend.calls("tools/call")
        assert headers["mcp-session-id"] == calling["mcp-session-id"]
