"""Parallel redemptions and refreshes against running gateways: four workers on PostgreSQL, one on SQLite."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
import pytest_asyncio

from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.databases import MigratedPostgres
from tests.support.oauth_client import OAuthClient
from tests.support.redis import empty_redis
from tests.support.topology import running_topology
from tests.support.visitor import Visitor

GRACE = 12.0  # seconds; fifty refreshes have to fit in, also on a slow machine
ENVIRONMENT = {"GATEWAY_REFRESH_GRACE": f"{GRACE:g}"}
PARALLEL = 50

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Place:
    """A gateway and a person with an account there."""

    origin: str
    email: str
    password: str


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql with four workers"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """One for all tests of the file; a family of tokens is the test's own."""
    if request.param == "sqlite":
        async with bootstrapped_gateway(ENVIRONMENT) as gateway:
            yield Place(gateway.url, gateway.email, gateway.password)
        return
    migrated: MigratedPostgres = request.getfixturevalue("migrated_postgres")
    redis: str = request.getfixturevalue("redis_server")
    empty_redis(redis)
    with migrated.lend() as url:
        async with running_topology(
            database_url=url, redis_url=redis, gateways=1, workers=4, environment=ENVIRONMENT
        ) as topology:
            yield Place(topology.gateways[0].url, "ann@example.com", "correct horse battery")


@pytest_asyncio.fixture(loop_scope="module")
async def connected(place: Place) -> AsyncIterator[tuple[OAuthClient, Visitor]]:
    """A registered client and the person with a browser."""
    limits = httpx2.Limits(max_connections=PARALLEL)
    async with httpx2.AsyncClient(timeout=30, limits=limits, verify=False) as http:
        client = OAuthClient(http, place.origin)
        await client.register()
        yield client, Visitor(http, place.email, place.password, place.origin)


async def test_of_fifty_redemptions_one_succeeds_and_the_losers_revoke_its_family(
    connected: tuple[OAuthClient, Visitor],
) -> None:
    """Issue; RFC 6749 §4.1.2 and §10.5: a code is used once, and a second use ends what the first one gave."""
    client, visitor = connected
    code = await client.authorize(visitor)
    answers = await asyncio.gather(*(client.redeem(code) for _ in range(PARALLEL)))
    winners = [answer.json() for answer in answers if answer.status_code == 200]
    losers = [answer for answer in answers if answer.status_code != 200]
    assert len(winners) == 1
    assert {(answer.status_code, answer.json()["error"]) for answer in losers} == {(400, "invalid_grant")}
    assert not await client.is_accepted(winners[0]["access_token"])
    assert (await client.refresh(winners[0]["refresh_token"])).json()["error"] == "invalid_grant"


async def test_fifty_refreshes_carry_one_successor(connected: tuple[OAuthClient, Visitor]) -> None:
    """Issue: rotation with a grace window, in which a repeat returns the identical successor."""
    client, visitor = connected
    tokens = (await client.redeem(await client.authorize(visitor))).json()
    answers = await asyncio.gather(*(client.refresh(tokens["refresh_token"]) for _ in range(PARALLEL)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    assert await client.is_accepted(answers[0].json()["access_token"])


async def test_an_old_refresh_token_after_the_grace_window_kills_the_family(
    connected: tuple[OAuthClient, Visitor],
) -> None:
    """Issue; RFC 9700 §4.14.2: reuse revokes the family, the access tokens with it."""
    client, visitor = connected
    first = (await client.redeem(await client.authorize(visitor))).json()
    second = (await client.refresh(first["refresh_token"])).json()
    assert await client.is_accepted(second["access_token"])
    await asyncio.sleep(GRACE + 0.5)
    assert (await client.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert not await client.is_accepted(second["access_token"])
    assert (await client.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
