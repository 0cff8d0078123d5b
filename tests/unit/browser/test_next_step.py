"""Where a person goes after signing in (security B6)."""

import pytest

from gateway_proxy.browser.next_step import NextStep, NextSteps
from tests.support.clock import FakeClock
from tests.support.people_site import PeopleSite


def test_a_step_comes_back_as_it_was_signed(site: PeopleSite) -> None:
    """With who asks, so that the page can be shown again."""
    step = NextStep("/oauth/authorize?state=%C3%BC&x=a%26b", "Cläude", "https://client.example/cb")
    assert site.next_steps.find(site.next_steps.sign(step)) == step


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "", "x", "/a\r\nB: c"])
def test_a_step_leads_to_a_path_of_ours_only(path: str) -> None:
    """No open redirect, no header injection."""
    with pytest.raises(ValueError, match="path of ours"):
        NextStep(path)


def test_a_step_is_good_for_ten_minutes(site: PeopleSite, clock: FakeClock) -> None:
    """And what we did not sign is none."""
    signed = site.next_steps.sign(NextStep("/account"))
    clock.advance(601)
    assert site.next_steps.find(signed) is None
    assert site.next_steps.find("/account") is None
    assert NextSteps(site.signing).find(site.signing.sign("csrf.sign-in", '{"path": "/account"}')) is None
