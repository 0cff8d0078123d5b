"""When a backend's list is renewed, and that no word of a change is lost."""

import asyncio

import pytest

from gateway_proxy.domain.backend import Backend
from gateway_proxy.router import shelf as shelf_room
from gateway_proxy.router.listing import TOOLS, Snapshot
from gateway_proxy.router.shelf import Shelf
from tests.support.clock import FakeClock
from tests.support.relay_rooms import http_backend


async def test_a_change_soon_after_another_is_renewed_even_when_its_timer_is_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """relay.md 7: refreshed on list_changed. uvloop rounds timers to milliseconds: they may be early."""
    monkeypatch.setattr(shelf_room, "CHANGE_PAUSE", 0.02)
    fetched: asyncio.Queue[Backend] = asyncio.Queue()

    async def fetch(backend: Backend) -> Snapshot:
        fetched.put_nowait(backend)
        return Snapshot(TOOLS, (), ())

    news = asyncio.Semaphore(0)
    clock = FakeClock()  # stands still: for the shelf, the timer of the second change comes before its time
    shelf = Shelf(http_backend("http://127.0.0.1:1/mcp"), fetch, clock, on_news=news.release)
    async with asyncio.timeout(5):
        for _ in range(2):
            shelf.changed()
            await fetched.get()
            await news.acquire()
    await shelf.close()
