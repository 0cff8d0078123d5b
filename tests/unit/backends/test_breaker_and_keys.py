"""The breaker of a backend, and how far sessions are shared (relay.md 5)."""

from dataclasses import replace

import pytest
from msgspec import structs

from gateway_proxy.backends.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, PROBE_SECONDS, Breaker
from gateway_proxy.backends.caller import Caller
from gateway_proxy.backends.session_key import SessionKey, allowed_for, isolation_of, part_of
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import BackendTimeout
from tests.support.clock import FakeClock
from tests.support.relay_rooms import LEGACY, RELAYING, http_backend, stdio_backend

DOWN = BackendTimeout("calc", 5)


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_call_try_again() -> None:
    """security.md F7: breaker opens, half-opens."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES - 1):
        breaker.failed(DOWN)
    breaker.succeeded()
    for _ in range(FAILURES):
        assert breaker.pause_left() == 0
        breaker.failed(DOWN)
    assert breaker.is_open
    assert breaker.last_error is DOWN
    assert breaker.pause_left() == FIRST_PAUSE
    for _ in range(50):
        breaker.failed(DOWN)  # calls that were under way when it broke
    assert breaker.pause_left() == FIRST_PAUSE
    clock.advance(FIRST_PAUSE)
    assert breaker.pause_left() == 0
    assert breaker.pause_left() == PROBE_SECONDS
    breaker.failed(DOWN)
    assert breaker.pause_left() == FIRST_PAUSE * 2
    clock.advance(FIRST_PAUSE * 2)
    assert breaker.pause_left() == 0
    breaker.succeeded()
    assert [breaker.pause_left() for _ in range(3)] == [0, 0, 0]


def test_pauses_grow_to_a_limit() -> None:
    """A backend that comes back is found within a minute."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES + 20):
        clock.advance(breaker.pause_left())
        assert breaker.pause_left() == 0
        breaker.failed(DOWN)
    assert breaker.pause_left() == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("backend", "caller", "part", "capabilities"),
    [
        (http_backend("x"), LEGACY, "user:u1", b"{}"),
        (http_backend("x"), RELAYING, "user:u1", b'{"elicitation":{},"roots":{"listChanged":true}}'),
        (http_backend("x", isolation="tenant"), RELAYING, "", b"{}"),
        (http_backend("x", isolation="session"), LEGACY, "session:s1", b"{}"),
        (http_backend("x", isolation="session"), structs.replace(LEGACY, session_id=None), "user:u1", b"{}"),
        (stdio_backend(), LEGACY, "", b"{}"),
        (stdio_backend(), RELAYING, "session:s1", b'{"elicitation":{},"roots":{"listChanged":true}}'),
        (stdio_backend(isolation="tenant"), RELAYING, "", b"{}"),
    ],
)
def test_sessions_are_shared_as_far_as_isolation_says_and_declare_nothing_when_shared_by_users(
    backend: Backend, caller: Caller, part: str, capabilities: bytes
) -> None:
    """relay.md 3 and 5: a child shared by several users is initialised with no client capabilities."""
    declared = caller.declared()
    assert part_of(backend, "u1", caller, declared) == part
    assert allowed_for(part, declared).json == capabilities
    assert isolation_of(backend, declared) in ("tenant", "user", "session")


def test_a_key_changes_with_each_of_its_parts() -> None:
    """A child is never shared beyond (tenant, backend, revision, isolation part, capabilities)."""
    key = SessionKey("t", "b", 1, "user:u", b"{}")
    others = [
        replace(key, tenant_id="t2"), replace(key, backend_id="b2"), replace(key, revision=2),
        replace(key, part="session:u"), replace(key, capabilities=b'{"a":{}}'), key.with_variant("sse"),
        SessionKey("tb", "", 1, "user:u", b"{}"),
    ]  # fmt: skip
    digests = {other.digest for other in [key, *others]}
    assert len(digests) == len(others) + 1
    assert all(len(digest) == 64 for digest in digests)
    assert key.digest == SessionKey("t", "b", 1, "user:u", b"{}").digest
