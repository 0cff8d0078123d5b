"""Reading headers; the SDK's own codec is the oracle where it has one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, encode_header_value
from mcp_types import version as sdk_versions

from gateway_proxy.backends.splice import read_header_value
from gateway_proxy.mcp_endpoint import versions
from gateway_proxy.mcp_endpoint.headers import Acceptable, is_json_type, read_accept, read_headers


def test_our_versions_are_those_of_the_sdk() -> None:
    """versions.py repeats them only to keep the SDK out of the worker's start."""
    assert versions.HANDSHAKE_VERSIONS == sdk_versions.HANDSHAKE_PROTOCOL_VERSIONS
    assert versions.MODERN_VERSIONS == sdk_versions.MODERN_PROTOCOL_VERSIONS
    assert versions.LATEST_HANDSHAKE_VERSION == sdk_versions.LATEST_HANDSHAKE_VERSION


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_whatever_the_sdk_encodes_we_decode(value: str) -> None:
    """MCP 2026-07-28, Streamable HTTP: values that a header cannot carry travel as =?base64?…?=."""
    assert read_header_value(encode_header_value(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "plain",
        "=?base64??=",
        "=?base64?aGk=?=",
        "=?base64?aGk?=",
        "=?base64?aGl=?=",
        "=?base64?!!?=",
        "=?base64?" + base64.b64encode(b"\xff").decode() + "?=",
        "=?BASE64?aGk=?=",
        "x=?base64?aGk=?=",
        "=?base64?aGk=?= ",
    ],
)
def test_malformed_sentinels_are_read_as_the_sdk_reads_them(value: str | None) -> None:
    """A corrupt header must equal no value of a body."""
    assert read_header_value(value) == decode_header_value(value)


@pytest.mark.parametrize("value", ["z\xfcrich", "a\x00b", "a\nb", "\x7f", "=?base64?\xfc?="])
def test_a_character_that_no_header_may_have_makes_it_equal_nothing(value: str) -> None:
    """MCP 2026-07-28, Server Validation: a value with invalid characters is refused, whatever the body says."""
    assert read_header_value(value) is None


@pytest.mark.parametrize(
    ("value", "json", "sse"),
    [
        (b"application/json, text/event-stream", True, True),
        (b"*/*", True, True),
        (b"Application/JSON", True, False),
        (b"text/event-stream;q=0.9", False, True),
        (b"application/json;q=0.5,text/event-stream;q=0", True, False),
        (b"application/*, text/*", True, True),
        (b"text/html", False, False),
        (b"", False, False),
        (b"application/json;q=x", True, False),
        (b"application/jsonx", False, False),
        (b"*/*, application/json;q=0", False, True),
        (b"text/event-stream;q=0, text/*", False, False),
        (b"*/*;q=0, application/json", True, False),
    ],
)
def test_accept_is_read_with_wildcards(value: bytes, json: bool, sse: bool) -> None:
    """RFC 9110 §12.5.1."""
    assert read_accept(value) == Acceptable(json, sse)


@pytest.mark.parametrize(
    ("value", "prefers"),
    [
        (b"application/json, text/event-stream", False),
        (b"text/event-stream, application/json", True),
        (b"application/json;q=0.5, text/event-stream", True),
        (b"text/event-stream;q=0.5, application/json", False),
        (b"text/event-stream, */*", True),
        (b"*/*, text/event-stream", False),
        (b"text/*, application/*", False),
        (b"text/event-stream", False),
        (b"*/*", False),
    ],
)
def test_whoever_names_streams_first_prefers_them(value: bytes, prefers: bool) -> None:
    """MCP 2025-11-25, Sending Messages 5: either shape is allowed, so the client's order decides."""
    assert read_accept(value).prefers_sse is prefers


def test_two_accept_lines_count_together_and_a_repeated_routing_header_is_noticed() -> None:
    """Header lines may be split; routing headers may not be doubled (security S5)."""
    read = read_headers(
        [
            (b"accept", b"application/json"),
            (b"mcp-name", b"a"),
            (b"accept", b"text/event-stream"),
            (b"mcp-name", b"b"),
            (b"cookie", b"x"),
            (b"cookie", b"y"),
        ]
    )
    assert read.accept == Acceptable(True, True)
    assert read.duplicated == "mcp-name"
    assert read.text(b"mcp-name") == "a"


@pytest.mark.parametrize(
    ("values", "version", "duplicated"),
    [
        ([b"2025-11-25", b"2025-11-25"], "2025-11-25", None),
        ([b"2025-11-25, 2025-11-25"], "2025-11-25", None),
        ([b"2026-07-28 ,2026-07-28", b"2026-07-28"], "2026-07-28", None),
        ([b"2025-11-25", b"2026-07-28"], "2025-11-25", "mcp-protocol-version"),
        ([b"2025-11-25,2026-07-28"], "2025-11-25", "mcp-protocol-version"),
        ([b"2025-11-25,"], "2025-11-25", "mcp-protocol-version"),
    ],
)
def test_a_protocol_version_that_is_said_twice_is_one(
    values: list[bytes], version: str, duplicated: str | None
) -> None:
    """RFC 9110 §5.3: lines of one name may be joined. Clients that set it beside their configuration send it twice."""
    read = read_headers([(b"accept", b"*/*"), *((b"mcp-protocol-version", value) for value in values)])
    assert (read.text(b"mcp-protocol-version"), read.duplicated) == (version, duplicated)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (b"application/json", True),
        (b"application/json; charset=UTF-8", True),
        (b'APPLICATION/JSON;charset="utf-8"', True),
        (b"application/json; charset=utf-16", False),
        (b"text/json", False),
        (b"application/x-www-form-urlencoded", False),
        (b"", False),
    ],
)
def test_only_json_in_utf8_is_a_body(value: bytes, fits: bool) -> None:
    """MCP, Streamable HTTP: a POST body is JSON."""
    assert is_json_type(value) is fits


def test_white_space_around_a_value_does_not_belong_to_it() -> None:
    """RFC 9110 §5.5: field parsing excludes it before the value is compared with the body."""
    headers = read_headers([(b"mcp-name", b" \t echo  "), (b"mcp-method", b"tools/call")])
    assert headers.text(b"mcp-name") == "echo"
