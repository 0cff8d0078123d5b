"""The directory of backends: fresh for two seconds, and at once after an edit (compatibility B11)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.router.directory import LIFETIME, RENEW_AFTER, BackendDirectory
from tests.support.clock import FakeClock
from tests.support.relay_rooms import http_backend


class Table:
    """What is stored, readable only while `open`, with a count of the readings."""

    def __init__(self) -> None:
        self.rows: list[Backend] = [http_backend("http://x.example", "calc")]
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.readings = 0
        self.is_down = False

    async def load(self, tenant_id: str) -> Sequence[Backend]:
        self.readings += 1
        found = list(self.rows)
        self.begun.set()
        await self.open.wait()
        if self.is_down:
            raise StorageUnavailable
        return found


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
async def directory(table: Table, clock: FakeClock) -> AsyncIterator[BackendDirectory]:
    directory = BackendDirectory(table.load, clock)
    yield directory
    await directory.close()


async def test_a_fresh_list_is_not_read_again_and_an_old_one_is(
    directory: BackendDirectory, table: Table, clock: FakeClock
) -> None:
    """At most two seconds old; the same tuple while nothing has changed."""
    first = await directory.list("t1")
    clock.advance(RENEW_AFTER / 2)
    assert await directory.list("t1") is first
    assert table.readings == 1
    table.rows = []
    clock.advance(LIFETIME)
    assert await directory.list("t1") == ()


async def test_after_an_edit_the_next_asker_reads_anew(directory: BackendDirectory, table: Table) -> None:
    """B11: at once, not when the copy ages."""
    await directory.list("t1")
    table.rows = []
    directory.forget("t1")
    assert await directory.list("t1") == ()


async def test_a_reading_that_began_before_an_edit_is_neither_kept_nor_given(
    directory: BackendDirectory, table: Table
) -> None:
    """Who waits for it gets the state after the edit; so do those who come later."""
    table.open.clear()
    waiting = asyncio.create_task(directory.list("t1"))
    await table.begun.wait()
    table.rows = []
    directory.forget("t1")
    table.open.set()
    assert await waiting == ()
    assert await directory.list("t1") == ()
    assert table.readings == 2


async def test_an_edit_that_changed_nothing_gives_the_same_tuple(directory: BackendDirectory, table: Table) -> None:
    """Whoever built on it does not build anew."""
    first = await directory.list("t1")
    directory.forget_all()
    assert await directory.list("t1") is first
    assert table.readings == 2


async def test_an_edit_does_not_bring_back_a_list_when_storage_is_down(
    directory: BackendDirectory, table: Table
) -> None:
    """A removed server must not come back because the database went away."""
    await directory.list("t1")
    directory.forget("t1")
    table.is_down = True
    with pytest.raises(StorageUnavailable):
        await directory.list("t1")
    table.is_down = False
    assert len(await directory.list("t1")) == 1
