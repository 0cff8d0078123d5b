"""The broom sweeps by itself, survives a database that is away, and stops when told; on both databases."""

import asyncio

import pytest

from gateway_proxy.storage.sql import purge
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.housekeeping import Housekeeping
from tests.storage.test_purge import count
from tests.support.clock import FakeClock
from tests.support.factories import make_access_token, make_tenant, make_user


async def add_tokens(database: Database, number: int) -> None:
    """Access tokens that are good for an hour."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    for _ in range(number):
        await make_access_token(database, tenant=acme, user=ann)


async def test_a_sweep_goes_on_until_nothing_is_left(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security F13: more rows than one batch takes."""
    await add_tokens(database, 5)
    broom = Housekeeping(database, clock, refresh_grace=30.0)
    assert await broom.sweep() == 0
    clock.advance(2 * 3600)
    monkeypatch.setattr(purge, "BATCH", 2)
    assert await broom.sweep() == 5 + 5  # tokens, and the families that nothing refers to any more
    assert await count(database, "access_tokens", "token_families") == [0, 0]


async def test_it_sweeps_now_and_then_and_ends_when_told(database: Database, clock: FakeClock) -> None:
    """Nobody has to call it."""
    await add_tokens(database, 1)
    clock.advance(2 * 3600)
    broom = Housekeeping(database, clock, refresh_grace=30.0, period=0.01)
    running = asyncio.create_task(broom.run())
    async with asyncio.timeout(10):
        while await count(database, "access_tokens") != [0]:
            await asyncio.sleep(0.01)
    broom.stop()
    async with asyncio.timeout(5):
        await running


async def test_a_database_that_is_away_is_tried_again(database: Database, clock: FakeClock) -> None:
    """Security O4: recovery without a restart, and no noise but a line in the log."""
    away = Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    broom = Housekeeping(away, clock, refresh_grace=30.0, period=0.01)
    running = asyncio.create_task(broom.run())
    await asyncio.sleep(0.2)
    assert not running.done()
    broom.stop()
    async with asyncio.timeout(15):
        await running
    await away.close()


async def test_two_brooms_do_not_meet(database: Database, clock: FakeClock) -> None:
    """Every worker has one."""
    await add_tokens(database, 20)
    clock.advance(2 * 3600)
    brooms = [Housekeeping(database, clock, refresh_grace=30.0) for _ in range(4)]
    removed = await asyncio.gather(*(broom.sweep() for broom in brooms))
    assert sum(removed) <= 40
    assert await brooms[0].sweep() + sum(removed) == 40
