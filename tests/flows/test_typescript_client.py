"""The official TypeScript clients against a running gateway, with no special case for them (issue: the spine)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.node import node_project, start_node
from tests.support.visitor import Visitor

PROJECT = Path(__file__).parents[1] / "clients" / "typescript"
GENERATIONS = ["v1", "v2-legacy", "v2-modern"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Bootstrapped]:
    async with bootstrapped_gateway() as running:
        yield running


async def _connect(gateway: Bootstrapped, generation: str, decision: str) -> dict[str, Any]:
    process = await start_node(node_project(PROJECT), "connect.mjs", generation, f"{gateway.url}/mcp")
    assert process.stdin
    assert process.stdout
    async with asyncio.timeout(90), httpx2.AsyncClient() as http:
        visitor = Visitor(http=http, email=gateway.email, password=gateway.password, origin=gateway.url)
        async for line in process.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "AUTHORIZE":
                process.stdin.write((await visitor.authorize(rest, decision=decision)).encode() + b"\n")
            elif word == "RESULT":
                await process.wait()
                result: dict[str, Any] = json.loads(rest)
                return result
        _, errors = await process.communicate()
    raise AssertionError(errors.decode()[-3000:])


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_typescript_client_connects_calls_refreshes_and_calls_again(
    gateway: Bootstrapped, generation: str
) -> None:
    """Discovery, registration, sign-in, consent, token, tools/list, tools/call, refresh, tools/call."""
    result = await _connect(gateway, generation, "approve")
    assert "demo__add" in result["names"]
    assert "5" in result["first"][0]["text"]
    assert "23" in result["second"][0]["text"]
    assert result["refreshed"] is True
    assert result["protocol"] == {"v2-modern": "2026-07-28"}.get(generation, result["protocol"])


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_typescript_client_is_told_when_the_person_says_no(gateway: Bootstrapped, generation: str) -> None:
    """RFC 6749 §4.1.2.1: access_denied reaches the client, with its state."""
    assert await _connect(gateway, generation, "deny") == {"refused": "access_denied"}
