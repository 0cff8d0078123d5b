"""The pages as one app on a real database, and a browser for them."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People
from tests.support.people_site import PeopleSite


@pytest.fixture
def site(database: Database, keyring: Keyring, clock: FakeClock) -> PeopleSite:
    """The pages, on both databases."""
    return PeopleSite(database, keyring, clock)


@pytest.fixture
def people(database: Database, clock: FakeClock) -> People:
    """Adds people and tokens."""
    return People(database, clock)


@pytest.fixture
async def http(site: PeopleSite) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser, as far as cookies go; redirects are not followed."""
    transport = httpx2.ASGITransport(app=site.app)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client
