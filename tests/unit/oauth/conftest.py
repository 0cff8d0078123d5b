"""An authorization server on SQLite: what is tested here does not depend on the database."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.authorization_server import AuthorizationServer, OAuthClient, build_authorization_server
from tests.support.clock import FakeClock


@pytest.fixture
async def server(sqlite_url: str, keyring: Keyring, clock: FakeClock) -> AsyncIterator[AuthorizationServer]:
    """An authorization server with one user."""
    database = Database(sqlite_url)
    yield await build_authorization_server(database, keyring, clock)
    await database.close()


@pytest.fixture
async def http(server: AuthorizationServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser and a client in one."""
    async with server.open_http() as http:
        yield http


@pytest.fixture
async def client(server: AuthorizationServer, http: httpx2.AsyncClient) -> OAuthClient:
    """A registered public client."""
    client = OAuthClient(server, http)
    await client.register()
    return client
