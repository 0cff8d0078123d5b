"""Four workers on one database: what must happen once happens once, whoever gets the request (AS5, AS6, F14)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway_proxy.domain.errors import TokenInvalid
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.authorization_server import (
    AuthorizationServer,
    OAuthClient,
    build_authorization_server,
    build_worker,
)
from tests.support.clock import FakeClock

Workers = list[OAuthClient]

pytestmark = pytest.mark.usefixtures("patient_databases")


@pytest.fixture
async def workers(database_url: str, keyring: Keyring, clock: FakeClock) -> AsyncIterator[Workers]:
    """The same client at four workers, each with a database pool of its own."""
    async with AsyncExitStack() as stack:
        clients: Workers = []
        first: AuthorizationServer | None = None
        for _ in range(4):
            database = Database(database_url, pool_size=5)
            stack.push_async_callback(database.close)
            server = (
                await build_authorization_server(database, keyring, clock)
                if first is None
                else build_worker(database, keyring, clock, tenant=first.tenant, user=first.user)
            )
            first = first or server
            http = await stack.enter_async_context(server.open_http())
            clients.append(OAuthClient(server, http))
        await clients[0].register()
        for client in clients[1:]:
            client.client_id, client.verifier = clients[0].client_id, clients[0].verifier
        yield clients


async def is_alive(worker: OAuthClient, tokens: dict[str, Any]) -> bool:
    """Whether an access token opens anything at this worker."""
    try:
        await worker.server.verifier.verify(tokens["access_token"])
    except TokenInvalid:
        return False
    return True


async def test_fifty_redemptions_at_four_workers_give_one_success_and_no_living_token(workers: Workers) -> None:
    """Issue 2, done when."""
    code = await workers[0].get_code()
    responses = await asyncio.gather(*(workers[number % 4].redeem(code) for number in range(50)))
    assert Counter(response.status_code for response in responses) == {200: 1, 400: 49}
    assert {response.json()["error"] for response in responses if response.status_code == 400} == {"invalid_grant"}
    winner = next(response.json() for response in responses if response.status_code == 200)
    for worker in workers:
        assert not await is_alive(worker, winner)
    assert (await workers[1].refresh(winner["refresh_token"])).json()["error"] == "invalid_grant"


async def test_fifty_refreshes_at_four_workers_carry_one_successor(workers: Workers) -> None:
    """Issue 2, done when; round after round."""
    tokens = await workers[0].connect()
    for _ in range(3):
        refresh_token = tokens["refresh_token"]
        responses = await asyncio.gather(*(workers[number % 4].refresh(refresh_token) for number in range(50)))
        assert Counter(response.status_code for response in responses) == {200: 50}
        assert len({response.json()["refresh_token"] for response in responses}) == 1
        tokens = responses[0].json()
        for worker in workers:
            assert await is_alive(worker, tokens)


async def test_refreshes_against_revocations_end_with_nothing_alive(workers: Workers) -> None:
    """Security incident 33: revoke takes the same row lock; no 500, no deadlock."""
    for _ in range(5):
        tokens = await workers[0].connect(prompt="consent")
        data = {"client_id": workers[0].client_id, "token": tokens["refresh_token"]}
        refreshes = [workers[number % 4].refresh(tokens["refresh_token"]) for number in range(12)]
        revocations = [workers[number].http.post("/oauth/revoke", data=data) for number in range(4)]
        responses = await asyncio.gather(*refreshes, *revocations)
        assert {response.status_code for response in responses[12:]} == {200}
        for response in responses[:12]:
            assert response.status_code in (200, 400)
            if response.status_code == 200:
                assert not await is_alive(workers[3], response.json())
                successor = await workers[2].refresh(response.json()["refresh_token"])
                assert successor.json()["error"] == "invalid_grant"
