"""Password hashing (security K4)."""

import asyncio

import pytest

from gateway_proxy.auth.passwords import MAXIMUM_BYTES, PasswordHasher
from gateway_proxy.domain.errors import PasswordUnacceptable, RateLimited
from tests.support.people import quick_hasher


async def test_a_password_fits_its_own_hash_only() -> None:
    """Security K4: argon2id."""
    hasher = quick_hasher()
    stored = await hasher.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert await hasher.verify(stored, "correct horse")
    assert not await hasher.verify(stored, "correct horsf")
    assert not await hasher.verify(None, "correct horse")


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$broken", "$2b$12$abc"])
async def test_what_is_no_argon2_hash_fits_no_password(stored: str) -> None:
    """A damaged row refuses, it does not break the sign-in."""
    assert not await quick_hasher().verify(stored, "anything")


@pytest.mark.parametrize("password", ["short", "ü" * 513, "a" * (MAXIMUM_BYTES + 1)])
async def test_a_password_outside_the_bounds_is_not_hashed(password: str) -> None:
    """Security K4: a limit in bytes."""
    with pytest.raises(PasswordUnacceptable):
        await quick_hasher().hash(password)


async def test_an_oversized_password_is_refused_without_hashing() -> None:
    """Security K4."""
    hasher = quick_hasher()
    stored = await hasher.hash("correct horse")
    assert not await hasher.verify(stored, "a" * 10_000)


async def test_lone_surrogates_are_a_password_like_any_other() -> None:
    """No input of a form may end in a traceback."""
    hasher = quick_hasher()
    stored = await hasher.hash("\udc80" * 8)
    assert await hasher.verify(stored, "\udc80" * 8)


async def test_a_hash_with_other_parameters_is_outdated() -> None:
    """Costs grow over the years; sign-in renews the hash."""
    stored = await quick_hasher().hash("correct horse")
    assert not quick_hasher().is_outdated(stored)
    assert PasswordHasher().is_outdated(stored)


async def test_a_flood_of_verifications_is_turned_away_when_the_queue_is_full() -> None:
    """Security K4: a bounded semaphore; the rest is told to come back."""
    hasher = PasswordHasher(time_cost=1, memory_kib=8, parallel=1, waiting=2)
    outcomes = await asyncio.gather(*(hasher.verify(None, "x") for _ in range(10)), return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is False] == [False] * 3
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 7
    assert not await hasher.verify(None, "x")
