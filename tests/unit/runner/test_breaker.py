"""When a failed child may be started again."""

import pytest

from gateway_proxy.runner.breaker import FAILURES_TO_OPEN, OPEN_SECONDS, Breaker
from gateway_proxy.runner.errors import BreakerOpen
from tests.support.clock import FakeClock


def _failed(times: int) -> tuple[Breaker, FakeClock]:
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(times):
        breaker.record_failure()
    return breaker, clock


def test_the_wait_doubles_with_every_failure() -> None:
    """security.md P5: restart with back-off; the first restart is at once."""
    assert [_failed(times)[0].admit() for times in range(5)] == pytest.approx([0, 0, 0.2, 0.4, 0.8])


def test_time_that_has_passed_counts() -> None:
    """A child that failed long ago starts at once."""
    breaker, clock = _failed(4)
    clock.advance(0.5)
    assert breaker.admit() == pytest.approx(0.3)
    clock.advance(60)
    assert breaker.admit() == 0


def test_it_opens_after_five_failures_and_says_for_how_long() -> None:
    """security.md P5: breaker."""
    breaker, clock = _failed(FAILURES_TO_OPEN)
    clock.advance(10)
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit()
    assert refused.value.retry_after == pytest.approx(OPEN_SECONDS - 10)
    assert breaker.state == "open"


def test_half_open_lets_one_try_decide() -> None:
    """A failed try opens it again, a useful one closes it."""
    breaker, clock = _failed(FAILURES_TO_OPEN)
    clock.advance(OPEN_SECONDS)
    assert breaker.state == "half-open"
    assert breaker.admit() == 0
    breaker.record_failure()
    with pytest.raises(BreakerOpen):
        breaker.admit()
    clock.advance(OPEN_SECONDS)
    breaker.record_success()
    assert breaker.state == "closed"
    assert breaker.admit() == 0
