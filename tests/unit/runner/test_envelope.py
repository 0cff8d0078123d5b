"""Envelopes: what is read, what is refused, what stays as it was."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.envelope import NotAnEnvelope

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=5))
def test_members_that_we_do_not_know_survive_in_their_order(extra: dict[str, object]) -> None:
    """relay.md 1."""
    message = {**extra, "jsonrpc": "2.0", "id": 1, "method": "m"}
    raw = msgspec.json.encode(message)
    envelope = jsonrpc.read_envelope(raw)
    envelope["id"] = jsonrpc.raw_number(99)
    assert jsonrpc.write_envelope(envelope) == msgspec.json.encode({**message, "id": 99})


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"null", b"1", b'"x"', b"[]", b"{", b"{}", b'{"jsonrpc":2.0}', b'{"jsonrpc":"2.1"}',
        b'{"jsonrpc":"2.0",}', b'{"jsonrpc":"2.0"}x', b'{"jsonrpc":"2.0","a":"\xff"}', b'{"jsonrpc":"2.0","a":NaN}',
        b"\xef\xbb\xbf{}",
        b'{"jsonrpc":"2.0","a":' + b"[" * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    """JSON-RPC 2.0 §4; security.md incident 15."""
    with pytest.raises(NotAnEnvelope):
        jsonrpc.read_envelope(raw)


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"id": 1, "method": "m"}, "request"),
        ({"id": -1, "method": "m"}, "request"),
        ({"id": "a", "method": "m"}, "request"),
        ({"method": "m"}, "notification"),
        ({"id": 1, "result": {}}, "response"),
        ({"id": None, "error": {}}, "response"),
    ],
)
def test_the_three_kinds_are_told_apart(members: dict[str, object], kind: str) -> None:
    """JSON-RPC 2.0 §4, §4.1, §5."""
    assert jsonrpc.kind_of(jsonrpc.read_envelope(msgspec.json.encode({"jsonrpc": "2.0", **members}))) == kind


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"id": 1},
        {"result": {}},
        {"id": 1, "result": {}, "error": {}},
        {"id": None, "method": "m"},
        {"id": [1], "method": "m"},
        {"id": True, "method": "m"},
    ],
)
def test_what_is_none_of_them_is_refused(members: dict[str, object]) -> None:
    """MCP: a request id is a string or an integer."""
    with pytest.raises(NotAnEnvelope):
        jsonrpc.kind_of(jsonrpc.read_envelope(msgspec.json.encode({"jsonrpc": "2.0", **members})))


def test_a_message_becomes_one_line() -> None:
    """A newline between tokens would cut a stdio message in two, and an SSE event with it."""
    raw = b'{"jsonrpc":\r\n"2.0",\n"id":1,"method":"m","params":{\n"a":\r"b\\n"}}'
    line = jsonrpc.write_envelope(jsonrpc.read_envelope(raw))
    assert b"\n" not in line
    assert b"\r" not in line
    assert msgspec.json.decode(line)["params"] == {"a": "b\n"}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"1", 1),
        (b'"12"', 12),
        (b"0", 0),
        (b"-1", None),
        (b"1.0", None),
        (b'"x"', None),
        (b"null", None),
        (b"9" * 30, None),
    ],
)
def test_only_our_own_numbers_are_read_back(raw: bytes, value: int | None) -> None:
    """Ids that a child made up reach nobody."""
    assert jsonrpc.integer_of(msgspec.Raw(raw)) == value
