"""A verifier on a real database, and people to verify."""

from collections.abc import AsyncIterator

import pytest

from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People


@pytest.fixture
async def verifier(database: Database, clock: FakeClock) -> AsyncIterator[TokenVerifier]:
    """A verifier of its own for each test, on both databases."""
    verifier = TokenVerifier(database, clock, public_url=PUBLIC_URL)
    yield verifier
    await verifier.close()


@pytest.fixture
def people(database: Database, clock: FakeClock) -> People:
    """Adds people and tokens."""
    return People(database, clock)
