"""Signed values that a browser keeps (security B2, O1)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.browser.signing import Signing
from gateway_proxy.sealing.keyring import Keyring
from tests.support.clock import FakeClock

OLD, NEW = "an-old-key-that-is-long-enough-00001", "a-new-key-that-is-long-enough-000002"
HOUR = timedelta(hours=1)


@pytest.fixture
def signing(keyring: Keyring, clock: FakeClock) -> Signing:
    """Signing under one key."""
    return Signing(keyring, clock)


@pytest.mark.parametrize("value", ["", "plain", "a.b.c", "ü ☃ & <>", "x" * 10_000])
def test_any_text_comes_back_as_it_was(signing: Signing, value: str) -> None:
    """Separators inside a value are no separators of ours."""
    assert signing.find("a", signing.sign("a", value), max_age=HOUR) == value


def test_a_value_is_good_for_its_purpose_only(signing: Signing) -> None:
    """A salt per use: a CSRF token is no session cookie."""
    assert signing.find("b", signing.sign("a", "value"), max_age=HOUR) is None


def test_a_value_ends_after_its_time(signing: Signing, clock: FakeClock) -> None:
    """max_age, by our clock."""
    signed = signing.sign("a", "value")
    clock.advance(3600)
    assert signing.find("a", signed, max_age=HOUR) == "value"
    clock.advance(1)
    assert signing.find("a", signed, max_age=HOUR) is None


def test_a_value_signed_before_a_key_rotation_stays_good(clock: FakeClock) -> None:
    """O1: rotation signs nobody out; a key that is gone does."""
    signed = Signing(Keyring([OLD]), clock).sign("a", "value")
    assert Signing(Keyring([NEW, OLD]), clock).find("a", signed, max_age=HOUR) == "value"
    assert Signing(Keyring([NEW]), clock).find("a", signed, max_age=HOUR) is None


@given(st.text(max_size=200))
def test_whatever_somebody_sends_is_none_or_ours(text: str) -> None:
    """Parsers are fuzzed: no input of a cookie or field may end in an error."""
    signing = Signing(Keyring([OLD]), FakeClock())
    assert signing.find("a", text, max_age=HOUR) is None


@given(st.integers(min_value=0, max_value=6), st.characters(codec="ascii"))
def test_an_altered_value_is_not_ours(position: int, character: str) -> None:
    """The signature covers the value and its time."""
    signing = Signing(Keyring([OLD]), FakeClock())
    signed = signing.sign("a", "value")
    altered = signed[:position] + character + signed[position + 1 :]
    assert altered == signed or signing.find("a", altered, max_age=HOUR) is None
