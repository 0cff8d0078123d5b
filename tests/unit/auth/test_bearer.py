"""The one credential of a request (RFC 6750 §2.1, security RS1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.auth.bearer import MAXIMUM_LENGTH, read_bearer
from gateway_proxy.domain.errors import AuthError, TokenMalformed, TokenMissing

ALTERNATES = (b"x-api-key", b"api-key")


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER  abc", b"Bearer abc "])
def test_the_scheme_is_read_in_any_case(value: bytes) -> None:
    """RFC 9110 §11.1."""
    assert read_bearer([(b"authorization", value)]) == "abc"


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"")], [(b"authorization", b"Basic YTpi")]])
def test_no_bearer_token_or_another_scheme_counts_as_missing(headers: list[tuple[bytes, bytes]]) -> None:
    """RFC 6750 §3.1: no error code when no token was sent."""
    with pytest.raises(TokenMissing):
        read_bearer(headers)


def test_a_bearer_scheme_without_a_token_counts_as_missing() -> None:
    """Clients with an empty key field send this."""
    with pytest.raises(TokenMissing):
        read_bearer([(b"authorization", b"Bearer ")])


@pytest.mark.parametrize("second", [b"Bearer abc", b"Bearer other", b"Basic YTpi"])
def test_two_authorization_headers_are_refused(second: bytes) -> None:
    """Security RS1: exactly one."""
    with pytest.raises(TokenMalformed):
        read_bearer([(b"authorization", b"Bearer abc"), (b"authorization", second)])


def test_a_header_over_four_kibibytes_is_refused() -> None:
    """Security RS1."""
    longest = b"Bearer " + b"a" * (MAXIMUM_LENGTH - 7)
    assert len(read_bearer([(b"authorization", longest)])) == MAXIMUM_LENGTH - 7
    with pytest.raises(TokenMalformed):
        read_bearer([(b"authorization", longest + b"a")])


@pytest.mark.parametrize("token", [b"a b", b"a\x00b", b"a\tb", b"\xff\xfe", b"a,\x7f"])
def test_characters_that_no_token_has_are_refused(token: bytes) -> None:
    """RFC 6750 §2.1."""
    with pytest.raises(TokenMalformed):
        read_bearer([(b"authorization", b"Bearer " + token)])


@pytest.mark.parametrize("name", ALTERNATES)
def test_an_api_key_header_is_read_where_the_surface_allows_it(name: bytes) -> None:
    """Compatibility A10 and D13; /mcp does not pass alternates."""
    assert read_bearer([(name, b"gw_pat_x")], alternates=ALTERNATES) == "gw_pat_x"
    with pytest.raises(TokenMissing):
        read_bearer([(name, b"gw_pat_x")])


def test_a_bearer_token_beside_an_api_key_is_refused() -> None:
    """Security RS1: exactly one of the three."""
    with pytest.raises(TokenMalformed):
        read_bearer([(b"authorization", b"Bearer abc"), (b"x-api-key", b"abc")], alternates=ALTERNATES)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"host"]), st.binary(max_size=80))))
def test_any_headers_give_a_visible_token_or_an_auth_error(headers: list[tuple[bytes, bytes]]) -> None:
    """Security incident 15: malformed input ends that request only."""
    try:
        token = read_bearer(headers, alternates=ALTERNATES)
    except AuthError:
        return
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
