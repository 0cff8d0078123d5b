"""Streams with event ids: what a client missed it reads at any worker, and a call outlives its connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, EndpointLimits
from gateway_proxy.mcp_endpoint.event_ids import CallPlace, SessionPlace, read_place
from gateway_proxy.router.messages import Notification, Pause
from gateway_proxy.sessions.event_log import KEEP_SECONDS, LogName
from gateway_proxy.sessions.memory_event_log import MemoryEventLog
from gateway_proxy.sessions.memory_mailbox import MemoryMailbox, PostOffice
from gateway_proxy.sessions.memory_store import MemorySessionStore
from gateway_proxy.sessions.opening import Crossing
from tests.support.asgi import AsgiClient, Conversation
from tests.support.clock import FakeClock
from tests.support.fake_router import FakeToolCalls
from tests.unit.mcp_endpoint.conftest import ECHO, PROGRESS, McpClient, context, make_endpoint, request

LOG = Notification(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"late"}}')


@dataclass
class Event:
    """One event of a stream."""

    id: str
    data: Any
    retry: int | None = None


def events(body: bytes) -> list[Event]:
    """The events of a stream, comments left out."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields or "id" in fields:
            data = fields.get("data", "")
            retry = fields.get("retry")
            found.append(Event(fields.get("id", ""), json.loads(data) if data else None, int(retry) if retry else None))
    return found


async def read_events(conversation: Conversation, count: int) -> list[Event]:
    """Read on until there are so many events in all."""
    while True:
        found = events(b"".join(message.get("body", b"") for message in conversation.seen))
        if len(found) >= count:
            return found
        await conversation.next()


@dataclass
class Workers:
    """Two workers with a post office and an event log in common."""

    endpoints: list[McpEndpoint]
    office: PostOffice
    event_log: MemoryEventLog
    calls: FakeToolCalls
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def client(self, worker: int, user: str = "ann", **headers: str) -> McpClient:
        """A user at one worker."""
        asgi = AsgiClient(self.endpoints[worker], {"tenant_context": context(user=user)})
        return McpClient(asgi, {name.replace("_", "-"): value for name, value in headers.items()})

    async def open(self, version: str = "2025-11-25") -> list[McpClient]:
        """A session, as both workers see it."""
        opened = await self.client(0).call("initialize", {"protocolVersion": version})
        session_id = opened.headers["mcp-session-id"]
        return [self.client(worker, mcp_session_id=session_id) for worker in (0, 1)]

    async def released(self) -> None:
        """A call waits here until the test lets it go on."""
        await self.release.wait()

    async def until_closed(self, name: str) -> None:
        """Wait until the router's call is closed."""
        async with asyncio.timeout(5):
            while name not in self.calls.closed:
                await asyncio.sleep(0.005)


@pytest.fixture
async def workers(
    sessions: MemorySessionStore, clock: FakeClock, config: EndpointConfig, calls: FakeToolCalls
) -> AsyncIterator[Workers]:
    """`slow` reports progress, waits to be released, logs and ends. `polls` lets its client go first."""
    office, event_log = PostOffice(), MemoryEventLog(clock)
    patient = replace(config, limits=replace(config.limits, silence=1000.0, heartbeat=1000.0, look_again_for_call=0.02))
    endpoints = [
        make_endpoint(calls, sessions, clock, patient, Crossing(MemoryMailbox(office), event_log)) for _ in range(2)
    ]
    workers = Workers(endpoints, office, event_log, calls)
    calls.scripts["slow"] = [PROGRESS, workers.released, LOG, ECHO]
    calls.scripts["polls"] = [Pause(), workers.released, ECHO]
    yield workers
    for endpoint in endpoints:
        await endpoint.close()


async def test_a_stream_begins_with_an_id_and_when_to_come_back(workers: Workers) -> None:
    """MCP 2025-11-25, Sending Messages 6: the priming event comes first and has no data."""
    here, _ = await workers.open()
    workers.release.set()
    found = events((await here.call("tools/call", {"name": "slow"})).body)
    assert found[0].data is None
    assert found[0].retry == 10_00
    ids = [event.id for event in found]
    assert len(set(ids)) == len(ids) == 4
    assert "" not in ids
    assert found[-1].data["id"] == 1


async def test_a_plain_answer_has_no_ids(workers: Workers) -> None:
    """Nothing is remembered for a call that never streamed."""
    here, _ = await workers.open()
    reply = await here.call("tools/call", {"name": "echo"})
    assert not reply.is_stream
    assert len(workers.endpoints[0]._kept_streams) == 0


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_call_outlives_its_client_and_is_read_to_its_end_anywhere(workers: Workers, elsewhere: bool) -> None:
    """MCP 2025-11-25: a disconnection is not a cancellation; Last-Event-ID on any worker replays the rest."""
    clients = await workers.open()
    conversation = clients[0].begin(request("tools/call", {"name": "slow"}, request_id="mine"))
    first = await read_events(conversation, 2)
    conversation.hang_up()
    await asyncio.sleep(0.05)
    assert workers.calls.closed == []

    resumed = clients[elsewhere].open("GET", last_event_id=first[-1].id)
    await resumed.until_body(b": ping")
    workers.release.set()
    found = events((await resumed.reply()).body)
    assert [event.data.get("method", "result") for event in found] == ["notifications/message", "result"]
    assert found[-1].data["id"] == "mine"
    assert not {event.id for event in found} & {event.id for event in first}
    await workers.until_closed("slow")
    async with asyncio.timeout(5):
        await conversation.task

    again = events((await clients[not elsewhere].open("GET", last_event_id=first[0].id).reply()).body)
    assert [event.data.get("method", "result") for event in again] == [
        "notifications/progress", "notifications/message", "result",
    ]  # fmt: skip
    assert again[1:] == found


async def test_a_client_that_turns_up_elsewhere_takes_its_stream_along(workers: Workers) -> None:
    """A connection may die without a word; the old worker must not go on writing to it."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "slow"}))
    first = await read_events(conversation, 2)
    resumed = there.open("GET", last_event_id=first[0].id)
    assert [event.data["method"] for event in await read_events(resumed, 1)] == ["notifications/progress"]
    workers.release.set()
    found = events((await resumed.reply()).body)
    assert "result" in found[-1].data
    assert len(events((await conversation.reply()).body)) == 2


async def test_the_end_of_a_stream_can_be_asked_for_again(workers: Workers) -> None:
    """The connection may have died under the very last event."""
    here, there = await workers.open()
    workers.release.set()
    found = events((await here.call("tools/call", {"name": "slow"})).body)
    again = events((await there.open("GET", last_event_id=found[1].id).reply()).body)
    assert again == found[2:]


async def test_a_backend_that_polls_lets_our_client_go_too(workers: Workers) -> None:
    """SEP-1699, the scenario server-sse-polling: priming, hang up, and the result after a GET."""
    here, there = await workers.open()
    begun = here.begin(request("tools/call", {"name": "polls"}))
    first = await read_events(begun, 1)
    while begun.seen[-1].get("more_body", True):
        await begun.next()
    assert first[0].retry == 1000
    resumed = there.open("GET", last_event_id=first[0].id)
    workers.release.set()
    found = events((await resumed.reply()).body)
    assert [event.data["id"] for event in found] == [1]


async def test_a_client_without_ids_that_leaves_has_cancelled(workers: Workers) -> None:
    """Before 2025-11-25 no stream is kept: leaving is the only way out."""
    here, _ = await workers.open("2025-06-18")
    conversation = here.begin(request("tools/call", {"name": "slow"}))
    await conversation.until_body(b"progress")
    assert all(b"id: " not in message.get("body", b"") for message in conversation.seen)
    conversation.hang_up()
    await workers.until_closed("slow")
    assert not workers.release.is_set()


async def test_a_call_that_goes_on_alone_can_be_cancelled_and_says_so_in_the_log(workers: Workers) -> None:
    """The session's `cancelled` and DELETE reach it as before."""
    here, there = await workers.open()
    conversation = here.begin(request("tools/call", {"name": "slow"}, request_id="c"))
    first = await read_events(conversation, 2)
    conversation.hang_up()
    await asyncio.sleep(0.05)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}}
    assert (await there.post(note)).status == 202
    await workers.until_closed("slow")
    found = events((await there.open("GET", last_event_id=first[-1].id).reply()).body)
    assert [event.data["error"]["code"] for event in found] == [-32800]


async def test_only_so_many_calls_of_a_user_go_on_alone(workers: Workers) -> None:
    """Security D3: a client that opens and leaves must not pile up calls."""
    here, _ = await workers.open()
    limit = EndpointLimits().left_calls_per_user
    under_way = [here.begin(request("tools/call", {"name": "slow"}, request_id=n)) for n in range(limit + 3)]
    for conversation in under_way:
        await read_events(conversation, 2)
        conversation.hang_up()
    async with asyncio.timeout(5):
        while len(workers.calls.closed) < 3:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert len(workers.calls.closed) == 3
    workers.release.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*(conversation.task for conversation in under_way))
    assert workers.endpoints[0].calls_under_way == 0


async def test_a_foreign_session_reads_nothing_of_a_stream(workers: Workers) -> None:
    """Security S1: an event id opens nothing by itself."""
    here, _ = await workers.open()
    workers.release.set()
    found = events((await here.call("tools/call", {"name": "slow"})).body)
    _, stranger = await workers.open()
    read = events((await stranger.open("GET", last_event_id=found[0].id).reply()).body)
    assert [event.data["error"]["code"] for event in read] == [-32000]
    assert (await here.open("GET", last_event_id=found[2].id).reply()).status == 200


@pytest.mark.parametrize("gone", ["worker", "stream"])
async def test_a_stream_that_nobody_has_any_more_is_a_clear_error(workers: Workers, gone: str) -> None:
    """relay.md 6: never a re-run; the error is the response to the very request."""
    _, there = await workers.open()
    place = CallPlace(here_id(workers) if gone == "stream" else "0123456789abcdef", 99, 3, b'"r9"')
    found = events((await there.open("GET", last_event_id=place.written().decode()).reply()).body)
    assert found[0].data["id"] == "r9"
    assert "no longer there" in found[0].data["error"]["message"]


def here_id(workers: Workers) -> str:
    """The first worker's name."""
    return next(iter(workers.office.mailboxes))


async def test_a_sessions_stream_tells_what_belongs_to_no_call_and_resumes(workers: Workers) -> None:
    """relay.md 3: GET streams and Last-Event-ID read the event log, at any worker."""
    here, there = await workers.open()
    name = LogName("acme", here.headers["mcp-session-id"])
    stream = here.open("GET")
    [primed] = await read_events(stream, 1)
    assert (primed.data, primed.retry) == (None, 1000)
    await workers.event_log.tell(name, LOG.raw)
    found = await read_events(stream, 2)
    assert found[1].data["params"] == {"data": "late"}
    stream.hang_up()
    async with asyncio.timeout(5):
        await stream.task

    await workers.event_log.tell(name, PROGRESS.raw)
    for last_seen, expected in ((found[1], 1), (primed, 2)):
        resumed = there.open("GET", last_event_id=last_seen.id)
        again = await read_events(resumed, expected)
        assert again[-1].data["method"] == "notifications/progress"
        assert len(again) == expected
        resumed.hang_up()
        async with asyncio.timeout(5):
            await resumed.task


@pytest.mark.parametrize("last_seen", ["s.3-0.", "s.99999999999999999999-0."])
async def test_a_place_in_a_log_that_is_gone_hides_nothing(workers: Workers, clock: FakeClock, last_seen: str) -> None:
    """relay.md 3: a laptop that slept longer than the log was kept hears what is announced from then on."""
    here, _ = await workers.open()
    name = LogName("acme", here.headers["mcp-session-id"])
    await workers.event_log.open(name)
    for _ in range(3):
        await workers.event_log.tell(name, LOG.raw)
    clock.advance(KEEP_SECONDS + 1)

    stream = here.open("GET", last_event_id=last_seen)
    await stream.until_body(b": ping")
    await workers.event_log.tell(name, PROGRESS.raw)

    [told] = await read_events(stream, 1)
    assert told.data["method"] == "notifications/progress"
    stream.hang_up()
    async with asyncio.timeout(5):
        await stream.task


async def test_one_message_goes_to_one_stream_only(workers: Workers) -> None:
    """MCP 2025-11-25, Multiple Connections: never the same message on several streams."""
    here, _ = await workers.open()
    older = here.open("GET")
    await read_events(older, 1)
    newer = here.open("GET")
    await read_events(newer, 1)
    await workers.event_log.tell(LogName("acme", here.headers["mcp-session-id"]), LOG.raw)
    assert len(await read_events(newer, 2)) == 2
    for stream in (older, newer):
        stream.hang_up()
        async with asyncio.timeout(5):
            await stream.task
    assert len(events(b"".join(message.get("body", b"") for message in older.seen))) == 1


async def test_an_older_client_gets_no_event_without_data(workers: Workers) -> None:
    """Clients before 2025-11-25 fail on an empty event."""
    here, _ = await workers.open("2025-03-26")
    stream = here.open("GET")
    await stream.until_body(b": ping")
    await workers.event_log.tell(LogName("acme", here.headers["mcp-session-id"]), LOG.raw)
    [told] = await read_events(stream, 1)
    assert told.data["params"] == {"data": "late"}
    stream.hang_up()
    async with asyncio.timeout(5):
        await stream.task


@pytest.mark.parametrize(
    "place",
    [
        CallPlace("0123456789abcdef", 5, 0, b'"\xc3\xa9"'),
        CallPlace("0" * 16, 1, 10**9, b"-7"),
        SessionPlace("17-3", "ab"),
    ],
)
def test_a_place_survives_being_an_event_id(place: CallPlace | SessionPlace) -> None:
    """What we hand out we understand."""
    assert read_place(place.written()) == place


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        b"c.0123456789abcdef.1.1.!",
        b"c.0123456789abcdef.1.1.bnVsbA",
        b"s.1.ab",
        b"s.1-1.XY",
        b"x" * 2000,
        b"\xff",
    ],
)
def test_what_was_never_an_event_id_of_ours_is_none(value: bytes) -> None:
    """A client may come from another server; it gets a fresh stream."""
    assert read_place(value) is None
