"""Parallel redemptions and refreshes against running gateways: four workers on PostgreSQL, one on SQLite."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.oauth_client import OAuthClient
from tests.support.topology import running_topology
from tests.support.visitor import Visitor

GRACE = 12.0  # seconds; fifty refreshes have to fit in, also on a slow machine
ENVIRONMENT = {"GATEWAY_REFRESH_GRACE": f"{GRACE:g}"}
PARALLEL = 50


@pytest_asyncio.fixture(params=["sqlite", "postgresql with four workers"])
async def connected(request: pytest.FixtureRequest) -> AsyncIterator[tuple[OAuthClient, Visitor]]:
    """A registered client and a person with an account."""
    limits = httpx2.Limits(max_connections=PARALLEL)
    async with httpx2.AsyncClient(timeout=30, limits=limits) as http:
        if request.param == "sqlite":
            async with bootstrapped_gateway(ENVIRONMENT) as gateway:
                visitor = Visitor(http, gateway.email, gateway.password, gateway.url)
                yield await _registered(http, gateway.url), visitor
            return
        urls = request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")
        async with running_topology(
            database_url=urls[0], redis_url=urls[1], gateways=1, workers=4, environment=ENVIRONMENT
        ) as topology:
            origin = topology.gateways[0].url
            yield await _registered(http, origin), Visitor(http, "ann@example.com", "correct horse battery", origin)


async def _registered(http: httpx2.AsyncClient, origin: str) -> OAuthClient:
    client = OAuthClient(http, origin)
    await client.register()
    return client


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
