"""What backends say outside of calls, as one caller hears it (relay.md 3, 7): changes, updates, log messages."""

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec import structs

from gateway_proxy.backends import ear as ear_room
from gateway_proxy.backends import waiting as waiting_room
from gateway_proxy.backends.messages import BEGUN, Announcement
from gateway_proxy.router import announcements as announcements_room
from gateway_proxy.router.announcements import Announcements
from gateway_proxy.router.directory import LIFETIME
from tests.support.mcp_backends import Http, McpBackend, Message, demo_backend, echo, serve
from tests.support.relay_rooms import LEGACY, Relay, http_backend, make_context, open_relay

TOOLS_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"


@dataclass
class Speaker:
    """Makes a backend talk on its stream: the GET of a legacy one, `subscriptions/listen` of a modern one."""

    backend: McpBackend
    streams: list[asyncio.Queue[Message | None]] = field(default_factory=list)
    opened: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def __post_init__(self) -> None:
        self.backend.handlers["subscriptions/listen" if self.backend.modern else "GET"] = self._stream
        self.backend.handlers["resources/subscribe"] = self._accept

    async def _stream(self, http: Http) -> None:
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self.streams.append(queue)
        await http.stream(b": here\n\n")
        self.opened.release()
        gone = asyncio.create_task(http.until_gone())
        while not gone.done():
            said = asyncio.create_task(queue.get())
            await asyncio.wait({gone, said}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or (message := said.result()) is None:
                said.cancel()
                break
            await http.event(message)
        gone.cancel()
        self.streams.remove(queue)
        await http.end()

    async def _accept(self, http: Http) -> None:
        await http.result({})

    def say(self, method: str, **params: Any) -> None:
        """Announce on every stream."""
        message = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
        for queue in self.streams:
            queue.put_nowait(message)

    def hang_up(self) -> None:
        """End every stream."""
        for queue in self.streams:
            queue.put_nowait(None)


@asynccontextmanager
async def listening(
    relay: Relay, caller: Any = LEGACY, uris: Callable[[], Collection[str]] = tuple, user: str = "u1"
) -> AsyncIterator[Callable[[], Any]]:
    """Listen as a caller; yields what gives the next announcement."""
    heard = Announcements(relay.catalog, relay.upstreams).listen(make_context(user_id=user), caller, uris=uris)
    generator: AsyncGenerator[Announcement, None] = heard
    async with aclosing(generator):
        first: asyncio.Future[Announcement] | None = asyncio.ensure_future(anext(generator))

        async def take() -> Announcement:
            nonlocal first
            async with asyncio.timeout(5):
                waiting, first = first or asyncio.ensure_future(anext(generator)), None
                return await waiting

        try:
            yield take
        finally:
            if first is not None:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second is waited for that does not matter."""
    monkeypatch.setattr(ear_room, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(ear_room, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(announcements_room, "LOOK_SECONDS", 0.02)


@pytest.mark.parametrize("is_batch", [False, True])
async def test_much_that_is_said_at_once_is_heard_by_a_reader_who_keeps_up(
    monkeypatch: pytest.MonkeyPatch, is_batch: bool
) -> None:
    """security.md F7: the backend is read no faster than a reader can follow, also within one event."""
    monkeypatch.setattr(waiting_room, "WAITING_LIMIT", 250)
    monkeypatch.setattr(ear_room, "RATE", 1000 * 4096)
    monkeypatch.setattr(ear_room, "AHEAD", 0.1)
    backend = demo_backend()

    async def bursts(http: Http) -> None:
        event = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error"}}).encode()
        batch = b"[%b]" % b",".join([event] * 500)
        await http.stream(b"data: %b\n\n" % batch if is_batch else b"data: %b\n\n" % event * 500)
        await http.until_gone()

    backend.handlers["GET"] = bursts
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        async with listening(relay) as take:
            assert [(await take()).method for _ in range(500)] == ["notifications/message"] * 500


@pytest.mark.parametrize("modern", [False, True])
async def test_the_beginning_is_told_when_the_backend_is_listened_to(modern: bool) -> None:
    """MCP 2026-07-28, subscriptions/listen: what changes after the acknowledgement is not missed."""
    backend = demo_backend(modern=modern)
    speaker = Speaker(backend)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        announcements = Announcements(relay.catalog, relay.upstreams)
        heard = announcements.listen(make_context(user_id="u1"), LEGACY, uris=lambda: ["file:///a"], says_begun=True)
        async with asyncio.timeout(5), aclosing(heard):
            assert await anext(heard) is BEGUN
            assert speaker.streams
            speaker.say(UPDATED, uri="file:///a")
            assert (await anext(heard)).method == UPDATED


async def test_the_beginning_is_told_of_a_backend_that_cannot_be_reached_too() -> None:
    """Security O6: one backend that is down holds up nobody for long."""
    async with open_relay([http_backend("http://127.0.0.1:1/mcp")]) as relay:
        announcements = Announcements(relay.catalog, relay.upstreams)
        heard = announcements.listen(make_context(user_id="u1"), LEGACY, uris=tuple, says_begun=True)
        async with asyncio.timeout(5), aclosing(heard):
            assert await anext(heard) is BEGUN


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_nothing_of_a_listener_waits_for_the_collector(is_deaf: bool) -> None:
    """Security F12, ADR 12: a thousand dropped streams leave no garbage behind; a backend without a stream no less."""
    backend = demo_backend()
    if not is_deaf:
        Speaker(backend)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        await relay.names()
        announcements = Announcements(relay.catalog, relay.upstreams)
        gc.collect()
        gc.disable()
        try:
            heard = announcements.listen(make_context(user_id="u1"), LEGACY, uris=tuple, says_begun=True)
            async with asyncio.timeout(5), aclosing(heard):
                assert await anext(heard) is BEGUN
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)
            del heard
            left = [
                each for each in gc.get_objects() if isinstance(each, ear_room.Listener | announcements_room._Gathering)
            ]
        finally:
            gc.enable()
    assert left == []


@pytest.mark.parametrize("modern", [False, True])
async def test_a_changed_list_is_announced_when_the_new_one_is_there(modern: bool) -> None:
    """relay.md 7: refreshed on list_changed; whoever lists again on hearing of it gets the new list."""
    backend = demo_backend(modern=modern)
    speaker = Speaker(backend)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay, listening(relay) as take:
        assert "calc__new" not in await relay.names()
        await speaker.opened.acquire()
        assert await take() == Announcement(TOOLS_CHANGED)  # the very first list is news too
        backend.tools["new"] = echo
        relay.clock.advance(2)
        speaker.say(TOOLS_CHANGED)
        assert await take() == Announcement(TOOLS_CHANGED)
        assert "calc__new" in await relay.names()


@pytest.mark.parametrize("modern", [False, True])
async def test_updates_reach_those_who_are_subscribed_at_the_moment(modern: bool) -> None:
    """2025-11-25, Resources, Subscriptions: what it was subscribed to, or a part of that; later ones too."""
    backend = demo_backend(modern=modern)
    speaker = Speaker(backend)
    uris = ["file:///a"]
    async with (
        serve(backend) as url,
        open_relay([http_backend(url)]) as relay,
        listening(relay, uris=lambda: uris) as take,
    ):
        await speaker.opened.acquire()
        for uri in ("file:///b", "file:///a/part", "file:///ab", "file:///a"):
            speaker.say("notifications/resources/updated", uri=uri)
        for uri in ("file:///a/part", "file:///a"):
            heard = await take()
            assert (heard.method, json.loads(heard.params)) == ("notifications/resources/updated", {"uri": uri})
        uris.append("file:///b")
        await speaker.opened.acquire()
        if modern:
            asked = backend.calls("subscriptions/listen")[-1][0]["params"]["notifications"]
            assert asked["resourceSubscriptions"] == ["file:///a", "file:///b"]
        else:
            async with asyncio.timeout(5):
                while len(backend.calls("resources/subscribe")) < 2:
                    await asyncio.sleep(0.01)
            subscribed = [message["params"]["uri"] for message, _ in backend.calls("resources/subscribe")]
            assert subscribed == ["file:///a", "file:///b"]
        speaker.say("notifications/resources/updated", uri="file:///b")
        assert json.loads((await take()).params) == {"uri": "file:///b"}


async def test_listeners_of_one_upstream_session_share_a_stream_that_ends_with_the_last() -> None:
    """relay.md 5: opened only when somebody asks; several sessions of a user are one stream at the backend."""
    backend = demo_backend()
    speaker = Speaker(backend)
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay:
        async with listening(relay, uris=lambda: ["a:b"]) as first:
            await speaker.opened.acquire()
            async with listening(relay, structs.replace(LEGACY, session_id="s2"), uris=lambda: ["a:b"]) as second:
                await asyncio.sleep(0.1)
                speaker.say("notifications/resources/updated", uri="a:b")
                assert (await first()).params == (await second()).params
                assert len(speaker.streams) == 1
        async with asyncio.timeout(5):
            while speaker.streams:
                await asyncio.sleep(0.01)
    assert len(backend.calls("GET")) == 1


async def test_a_backend_that_is_slow_to_subscribe_is_not_asked_over_and_over() -> None:
    """2025-11-25, Subscriptions: what is being subscribed to is not more than the stream was begun with."""
    backend = demo_backend()
    speaker = Speaker(backend)

    async def slowly(http: Http) -> None:
        await asyncio.sleep(ear_room.LOOK_SECONDS * 10)
        await http.result({})

    backend.handlers["resources/subscribe"] = slowly
    async with (
        serve(backend) as url,
        open_relay([http_backend(url)]) as relay,
        listening(relay, uris=lambda: ["file:///a"]) as take,
    ):
        await speaker.opened.acquire()
        while not backend.calls("resources/subscribe"):
            await asyncio.sleep(0.005)
        speaker.say(UPDATED, uri="file:///a")
        assert (await take()).method == UPDATED
        assert len(backend.calls("GET")) == len(backend.calls("resources/subscribe")) == 1


async def test_a_stream_that_breaks_is_begun_anew_and_subscribed_again_on_a_new_session() -> None:
    """relay.md 5: an expired upstream session is opened again; its subscriptions with it."""
    backend = demo_backend()
    speaker = Speaker(backend)
    async with (
        serve(backend) as url,
        open_relay([http_backend(url)]) as relay,
        listening(relay, uris=lambda: ["a:b"]) as take,
    ):
        await speaker.opened.acquire()
        speaker.hang_up()
        await speaker.opened.acquire()
        assert len(backend.calls("resources/subscribe")) == 1
        backend.sessions.clear()
        gone = backend.handlers.pop("GET")

        async def once(http: Http) -> None:
            backend.handlers["GET"] = gone
            await http.error(-32001, "Session not found", status=404)

        backend.handlers["GET"] = once
        speaker.hang_up()
        await speaker.opened.acquire()
        async with asyncio.timeout(5):
            while len(backend.calls("resources/subscribe")) < 2:
                await asyncio.sleep(0.01)
        speaker.say("notifications/resources/updated", uri="a:b")
        assert (await take()).method == "notifications/resources/updated"


async def test_log_messages_of_a_shared_session_reach_nobody() -> None:
    """relay.md 3: what belongs to no call and may be about any of several users is not passed on; changes are."""
    backend = demo_backend()
    speaker = Speaker(backend)
    async with (
        serve(backend) as url,
        open_relay([http_backend(url, isolation="tenant")]) as relay,
        listening(relay, uris=lambda: ["a:b"]) as take,
    ):
        await speaker.opened.acquire()
        speaker.say("notifications/message", level="error", data="of somebody")
        speaker.say("notifications/resources/updated", uri="a:b")
        assert (await take()).method == "notifications/resources/updated"


async def test_log_messages_are_heard_from_the_level_that_was_set() -> None:
    """2025-11-25, Logging."""
    backend = demo_backend()
    speaker = Speaker(backend)
    caller = structs.replace(LEGACY, log_level="error")
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay, listening(relay, caller) as take:
        await speaker.opened.acquire()
        speaker.say("notifications/message", level="info", data="no")
        speaker.say("notifications/message", level="alert", data="yes")
        assert json.loads((await take()).params) == {"level": "alert", "data": "yes"}


@pytest.mark.parametrize(
    ("status", "kind"), [(405, "text/plain"), (501, "text/plain"), (404, "text/html"), (200, "text/html")]
)
async def test_a_backend_without_a_stream_is_left_alone_and_edits_are_news(status: int, kind: str) -> None:
    """2025-11-25, Listening: 405 is an answer, others are too. A backend that comes or goes changes every list.

    The session stays the one it was: what the backend remembers in it is not thrown away for a 404.
    """
    backend = demo_backend()

    async def refuses(http: Http) -> None:
        await http.raw(status, b"", {"content-type": kind})

    async def pong(http: Http) -> None:
        await http.result({})

    backend.handlers |= {"GET": refuses, "ping": pong}
    async with serve(backend) as url, open_relay([http_backend(url)]) as relay, listening(relay) as take:
        await asyncio.sleep(0.2)
        assert len(backend.calls("GET")) == 1
        assert len(backend.calls("initialize")) == 1
        relay.backends.append(http_backend(url, "b"))
        relay.clock.advance(LIFETIME)
        assert {(await take()).method for _ in range(3)} == {
            TOOLS_CHANGED,
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        }
