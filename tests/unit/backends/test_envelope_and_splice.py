"""Messages as envelopes: what is not routed stays byte for byte (relay.md 1)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.backends.caller import MAX_CAPABILITIES, Caller
from gateway_proxy.backends.envelope import raw_bytes, read_envelopes, read_failure, read_progress_token
from gateway_proxy.backends.splice import header_value, read_request
from tests.support.relay_rooms import LEGACY, MODERN

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
META = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "progressToken"), JSON, max_size=3)


@given(st.dictionaries(st.text(max_size=8).filter(lambda name: name not in ("_meta", "name")), JSON, max_size=4), META)
def test_only_name_and_progress_token_change_on_the_way(params: dict[str, Any], meta: dict[str, Any]) -> None:
    """relay.md 1: spliced are the routing field and `_meta.progressToken`; unknown fields pass."""
    sent = {**params, "name": "s__t", "_meta": {**meta, "progressToken": 7}}
    request = read_request("tools/call", json.dumps(sent).encode(), replace={"name": "t"})
    written = request.write_params(b'"w-1"', modern=False, caller=LEGACY, capabilities=b"{}")
    assert json.loads(written) == {**params, "name": "t", "_meta": {**meta, "progressToken": "w-1"}}
    assert request.progress_token == b"7"
    assert b"\n" not in written


def test_values_pass_byte_for_byte() -> None:
    """relay.md 1: numbers keep their spelling, strings their escapes."""
    arguments = b'{"a": 1.0, "b":1e400,"c":"\\u00e9\\/", "d":123456789012345678901234567890}'
    request = read_request("tools/call", b'{"name":"x","arguments":%b}' % arguments, replace={"name": "y"})
    written = request.write_params(b"1", modern=False, caller=LEGACY, capabilities=b"{}")
    assert written == b'{"name":"y","arguments":%b}' % arguments


def test_a_caller_without_a_progress_token_does_not_get_one() -> None:
    """Progress is reported only to those who asked."""
    request = read_request("tools/call", b'{"name":"x","_meta":{"a":1}}')
    assert json.loads(request.write_params(b'"t"', modern=False, caller=LEGACY, capabilities=b"{}")) == {
        "name": "x",
        "_meta": {"a": 1},
    }


def test_line_breaks_between_tokens_do_not_reach_a_frame() -> None:
    """An SSE or stdio frame is one line."""
    request = read_request("tools/call", b'{\n "name": "x",\r\n "arguments": {\n "a": "1\\n2" }}')
    written = request.write_params(b"1", modern=False, caller=LEGACY, capabilities=b"{}")
    assert written == b'{"name":"x","arguments":{"a":"1\\n2"}}'
    assert raw_bytes(read_envelopes(b'{"id":1,"result":{\n"a":\r1}}')[0].result) == b'{"a":1}'


@pytest.mark.parametrize(
    "params", [b"[]", b"1", b"null", b'{"_meta":[]}', b'{"_meta":1}', b"{", b'{"a":\xff}', b"[" * 9000]
)
def test_params_that_are_no_object_are_refused(params: bytes) -> None:
    """Bad input ends that request only."""
    with pytest.raises(ValueError, match="not a JSON object"):
        read_request("tools/call", params)


@pytest.mark.parametrize(
    ("token", "is_one"), [("null", False), ("{}", False), ("true", False), ('"a"', True), ("-7", True)]
)
def test_what_can_be_no_progress_token_asks_for_no_progress(token: str, is_one: bool) -> None:
    """MCP, Progress: a string or a number. A client that writes null for "none" could not read what it would get."""
    request = read_request("tools/call", b'{"name":"x","_meta":{"progressToken":%b,"a":1}}' % token.encode())
    sent = json.loads(request.write_params(b'"ours"', modern=False, caller=MODERN, capabilities=b"{}"))
    assert sent["_meta"] == {"a": 1} | ({"progressToken": "ours"} if is_one else {})


@pytest.mark.parametrize("caller", [LEGACY, MODERN])
def test_a_session_of_the_handshake_era_never_sees_the_envelope_of_the_other(caller: Caller) -> None:
    """Claude's connectors send `_meta` of 2026-07-28 under a header of 2025-11-25; SDK servers refuse the mixture."""
    params = (
        b'{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","mine":1,'
        b'"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c"},'
        b'"io.modelcontextprotocol/logLevel":"info"}}'
    )
    sent = read_request("tools/call", params).write_params(b"1", modern=False, caller=caller, capabilities=b"{}")
    assert json.loads(sent) == {"name": "x", "_meta": {"mine": 1}}


def test_modern_meta_is_ours_towards_modern_backends_and_absent_towards_legacy_ones() -> None:
    """relay.md 6: `inputResponses` and `_meta` protocolVersion, clientInfo and clientCapabilities when eras differ."""
    params = (
        b'{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        b'"io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"mine":1},"inputResponses":{"k":{}}}'
    )
    legacy = read_request("tools/call", params).write_params(b"1", modern=False, caller=MODERN, capabilities=b"{}")
    assert json.loads(legacy) == {"name": "x", "_meta": {"mine": 1}}
    modern = read_request("tools/call", params).write_params(b"1", modern=True, caller=MODERN, capabilities=b'{"a":{}}')
    assert json.loads(modern)["inputResponses"] == {"k": {}}
    assert json.loads(modern)["_meta"] == {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"a": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "client", "version": "1"},
        "mine": 1,
    }


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", b'{"name":"x"}', "x"),
        ("resources/read", b'{"uri":"a://b"}', "a://b"),
        ("tools/list", b"{}", None),
    ],
)
def test_routing_headers_say_what_the_body_says(method: str, params: bytes, name: str | None) -> None:
    """2026-07-28: Mcp-Method on all requests, Mcp-Name equal to params.name or params.uri."""
    pairs = dict(read_request(method, params).header_pairs())
    assert pairs == {"mcp-method": method} | ({"mcp-name": name} if name else {})


@pytest.mark.parametrize("text", ["plain", "a b", "é", " edge", "=?base64?eA==?=", "a\r\nb", ""])
def test_header_values_survive_the_way_as_the_sdk_reads_them(text: str) -> None:
    """2026-07-28, Header Encoding; the official SDK is the oracle."""
    inbound = pytest.importorskip("mcp.shared.inbound")
    assert inbound.decode_header_value(header_value(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b'{"id":1',
        b"1",
        b'"x"',
        b"[1]",
        b'{"id":1,"result":{"a":"\xff"}}',
        b'{"result":{"a":NaN}}',
        b"[" * 9000,
    ],
)
def test_what_is_no_json_rpc_message_is_refused(data: bytes) -> None:
    """security.md F7: invalid JSON from a backend."""
    with pytest.raises(ValueError, match="not a JSON-RPC message"):
        read_envelopes(data)


def test_batches_and_blanks_are_read() -> None:
    """2025-03-26 allows batches."""
    assert [
        bytes(e.id) for e in read_envelopes(b' [{"id":1,"result":{}},\n{"id":"2","error":{"code":-1,"message":"m"}}]')
    ] == [
        b"1",
        b'"2"',
    ]


def test_errors_pass_with_their_data() -> None:
    """JSON-RPC 2.0 §5.1."""
    failure = read_failure(read_envelopes(b'{"id":1,"error":{"code":-5,"message":"m","data":{"a":1}}}')[0].error)
    assert (failure.code, failure.message, failure.data) == (-5, "m", b'{"a":1}')
    assert read_failure(read_envelopes(b'{"id":1,"error":"x"}')[0].error).code == -32603


def test_progress_tokens_are_read_raw() -> None:
    """A string and an integer token are not the same."""
    params = read_envelopes(b'{"method":"notifications/progress","params":{"progressToken":"1","progress":1}}')[
        0
    ].params
    assert read_progress_token(params) == b'"1"'


@pytest.mark.parametrize(
    ("capabilities", "relays", "json_out", "methods"),
    [
        (b"{}", True, b"{}", set()),
        (b'{"sampling":{}, "roots":{}}', True, b'{"roots":{},"sampling":{}}', {"sampling/createMessage", "roots/list"}),
        (b'{"sampling":{}, "extensions":{"ui":{}}}', False, b'{"extensions":{"ui":{}}}', set()),
        (b"nonsense", True, b"{}", set()),
        (b"[]", True, b"{}", set()),
        (b'{"sampling":{},"x":"' + b"y" * MAX_CAPABILITIES + b'"}', True, b"{}", set()),
    ],
)  # fmt: skip
def test_capabilities_are_told_upstream_as_far_as_the_surface_can_keep_the_promise(
    capabilities: bytes, relays: bool, json_out: bytes, methods: set[str]
) -> None:
    """relay.md 6: the caller's own capabilities are what the backend is told."""
    caller = Caller(None, "2025-11-25", b"{}", capabilities, modern=False, relays_server_requests=relays)
    declared = caller.declared()
    assert (declared.json, set(declared.methods)) == (json_out, methods)
