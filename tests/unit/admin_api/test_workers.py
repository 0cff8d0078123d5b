"""Edits reach every worker at once, through Redis; on both databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.admin_site import AdminSite, open_admin_site
from tests.support.llm.scripted import ScriptedOpenAI
from tests.support.llm.serving import serve


@pytest.fixture
async def two_workers(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[AdminSite]:
    """Two applications on one database and one Redis; edits are made at the first."""
    async with open_admin_site(database_url, tmp_path / "data", redis_url=redis_url, workers=2) as site:
        yield site


async def within(seconds: float, site: AdminSite, expected: list[str]) -> None:
    """The other worker lists these tools within so many seconds, far less than its copies live."""
    wire = site.wire(1)
    async with asyncio.timeout(seconds):
        while await wire.tool_names() != expected:
            await asyncio.sleep(0.01)


async def test_an_edit_at_one_worker_is_seen_at_the_other_at_once(two_workers: AdminSite, calc_url: str) -> None:
    """B11: its tools vanish at once everywhere; relay.md 7."""
    tools = ["calc__count", "calc__echo", "calc__echo_events"]
    assert await two_workers.wire(1).tool_names() == []  # a copy that is fresh for a second
    await two_workers.post({"calc": {"url": calc_url}})
    await within(0.5, two_workers, tools)
    assert await two_workers.wire(0).tool_names() == tools

    await two_workers.ask("DELETE", "/servers/calc")
    await within(0.5, two_workers, [])
    gone = await two_workers.wire(1).call("calc__echo")
    assert gone["result"]["isError"]
    assert await two_workers.wire(0).tool_names() == []


async def test_a_provider_put_at_one_worker_is_gone_to_by_the_other_at_once(two_workers: AdminSite) -> None:
    """D11: live at once; a copy of the tenant's models is good for a second, and is not waited for."""
    other = two_workers.clients[1]
    headers = {"Authorization": f"Bearer {two_workers.chatter}"}
    chat = {"model": "any", "messages": [{"role": "user", "content": "Hello"}]}

    async def status_becomes(expected: int) -> None:
        async with asyncio.timeout(0.5):
            while (await other.post("/v1/chat/completions", json=chat, headers=headers)).status_code != expected:
                await asyncio.sleep(0.01)

    llm = ScriptedOpenAI()
    async with serve(llm.app()) as url:
        await status_becomes(404)  # read a moment ago, so good for another second
        await two_workers.ask("PUT", "/admin/providers/default", body={"base_url": f"{url}/v1"})
        await status_becomes(200)
        await two_workers.ask("DELETE", "/admin/providers/default")
        await status_becomes(404)
