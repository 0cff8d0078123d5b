"""Form bodies and query strings: what is read, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from gateway_proxy.domain.oauth_errors import (
    BodyUnreadable,
    ParameterMissing,
    ParameterRepeated,
    ResourceUnknown,
)
from gateway_proxy.oauth.parameters import read_parameters, read_query
from tests.support.authorization_server import OAuthClient


def test_values_are_decoded_as_utf_8_with_plus_for_a_blank() -> None:
    """WHATWG URL, application/x-www-form-urlencoded."""
    parameters = read_parameters("a=b+c%20d&n%C3%A4me=%E6%BC%A2&literal=ä".encode())
    assert parameters.values == {"a": "b c d", "näme": "漢", "literal": "ä"}


def test_a_parameter_without_a_value_counts_as_absent() -> None:
    """RFC 6749 §3.1."""
    parameters = read_parameters(b"scope=&state")
    assert parameters.find("scope") is None
    with pytest.raises(ParameterMissing):
        parameters.get("state")


@pytest.mark.parametrize("encoded", [b"a=%FF", b"a=\xc3", b"a=%00", b"a%00=1", b"&".join(b"a=1" for _ in range(65))])
def test_what_is_not_clean_text_is_refused(encoded: bytes) -> None:
    """Security AS13."""
    with pytest.raises(BodyUnreadable):
        read_parameters(encoded)


def test_a_repeated_parameter_is_refused_but_an_identical_resource_is_not() -> None:
    """RFC 6749 §3.1, RFC 8707 §2."""
    read_parameters(b"resource=a&resource=a").verify_none_repeated()
    with pytest.raises(ParameterRepeated):
        read_parameters(b"state=a&state=a").verify_none_repeated()
    with pytest.raises(ResourceUnknown):
        read_parameters(b"resource=a&resource=b").verify_none_repeated()


def test_a_query_is_carried_on_byte_for_byte() -> None:
    """RFC 6749 §4.1.2: byte-exact state, also when a client did not percent-encode it."""
    raw = b"state=\xc3\xa4%20%C3%A4+/&scope=mcp"
    query = read_query(Request({"type": "http", "query_string": raw, "headers": []}))
    assert query == "state=%C3%A4%20%C3%A4+/&scope=mcp"
    assert read_parameters(query.encode("ascii")) == read_parameters(raw)
    with pytest.raises(BodyUnreadable):
        read_query(Request({"type": "http", "query_string": b"x" * 16_385, "headers": []}))


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_no_input_breaks_the_reader(encoded: bytes) -> None:
    """Security, habit 6: parsers are fuzzed."""
    try:
        parameters = read_parameters(encoded)
    except BodyUnreadable:
        return
    assert all("\0" not in text for pair in parameters.values.items() for text in pair)


TOKEN_FORM = b"grant_type=refresh_token&refresh_token=gw_rt_x&client_id=gwc_x"


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 400),
        ("multipart/form-data; boundary=x", b"--x--", 400),
        ("", TOKEN_FORM, 400),
        ("application/x-www-form-urlencoded; charset=latin-1", TOKEN_FORM, 400),
        ("application/x-www-form-urlencoded", b"grant_type=%FF&token=%FF", 400),
        ("application/x-www-form-urlencoded", b"grant_type=a%00&token=%00", 400),
        ("application/x-www-form-urlencoded", TOKEN_FORM + b"&client_id=gwc_x", 400),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 70_000, 413),
        ("application/x-www-form-urlencoded", b"", 400),
    ],
)
async def test_an_unreadable_body_is_an_invalid_request_in_json(
    client: OAuthClient, path: str, content_type: str, body: bytes, status: int
) -> None:
    """Security AS13, incident 26: JSON errors for every input, no multipart."""
    response = await client.http.post(path, content=body, headers={"Content-Type": content_type})
    expected = (status, "invalid_request")
    if body == b"" and path == "/oauth/introspect":
        expected = (401, "invalid_client")
    assert (response.status_code, response.json()["error"]) == expected


async def test_an_encoded_body_is_refused(client: OAuthClient) -> None:
    """Security D1: no Content-Encoding."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    response = await client.http.post("/oauth/token", content=b"\x1f\x8b", headers=headers)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/oauth/token", "/token", "/oauth/register", "/register", "/oauth/revoke"])
async def test_another_method_is_a_405_in_json(client: OAuthClient, method: str, path: str) -> None:
    """RFC 9110 §15.5.6."""
    response = await client.http.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.headers["content-type"] == "application/json"
