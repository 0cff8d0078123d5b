"""Models are read once for all who ask at the same time, and anew after a change (performance.md, chat)."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.storage.sql.database import Database
from openai_routes.assistants import StoredModels
from tests.support.clock import FakeClock


class Gate:
    """Stands in for the database: reads wait until it is opened, and find what it holds then."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.reads = 0
        self.names = ["one"]
        self.failure: Exception | None = None

    async def read(self, work: Callable[..., Any], *, tenant_id: str) -> Any:
        """Run `work`, or fail."""
        self.reads += 1
        found = work(tenant_id=tenant_id)
        await self.opened.wait()
        if self.failure is not None:
            raise self.failure
        return found

    def models(self) -> StoredModels:
        """A directory over it."""
        return StoredModels(
            cast(Database, self),
            FakeClock(),
            list_models=lambda *, tenant_id: ([Assistant(n, tenant_id, n, "p", "m", 1) for n in self.names], []),
        )


async def test_who_comes_while_the_models_are_read_waits_for_the_same() -> None:
    """Thirty chats that begin at once are one query, not thirty; one that goes away takes nothing from the others."""
    gate = Gate()
    models = gate.models()
    asking = [asyncio.create_task(models.find_models("t1")) for _ in range(30)]
    await asyncio.sleep(0)
    asking[0].cancel()
    gate.opened.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert gate.reads == 1
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(not isinstance(one, BaseException) and list(one.assistants) == ["one"] for one in found[1:])


async def test_what_was_read_before_a_change_is_not_kept_behind_it() -> None:
    """The admin API forgets: the next request must see the change, even if a read was under way."""
    gate = Gate()
    models = gate.models()
    early = asyncio.create_task(models.find_models("t1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.names = ["two"]
    models.forget("t1")
    gate.opened.set()
    assert list((await models.find_models("t1")).assistants) == ["two"]
    await early
    assert list((await models.find_models("t1")).assistants) == ["two"]


async def test_all_that_was_read_can_be_forgotten() -> None:
    """After a time in which changes may have gone unheard, a read that is under way included."""
    gate = Gate()
    models = gate.models()
    gate.opened.set()
    await models.find_models("t1")
    gate.opened.clear()
    under_way = asyncio.create_task(models.find_models("t2"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.names = ["two"]
    models.forget_all()
    gate.opened.set()
    for tenant in ("t1", "t2"):
        assert list((await models.find_models(tenant)).assistants) == ["two"]
    await under_way
    assert list((await models.find_models("t2")).assistants) == ["two"]


async def test_a_read_that_fails_is_tried_again_by_the_next() -> None:
    """Security O4: degraded, and well again at once."""
    gate = Gate()
    models = gate.models()
    gate.opened.set()
    gate.failure = StorageUnavailable()
    with pytest.raises(StorageUnavailable):
        await models.find_models("t1")
    gate.failure = None
    assert list((await models.find_models("t1")).assistants) == ["one"]
