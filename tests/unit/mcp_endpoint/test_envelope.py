"""From a body to an envelope: what is refused, with which code, and what passes untouched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.mcp_endpoint.envelope import (
    ClientNotification,
    ClientResponse,
    Request,
    decode_message,
    is_deeper_than,
)
from gateway_proxy.mcp_endpoint.errors import Refusal


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """A request whose params nest `levels` deep in all, the request included."""
    inner = opening * (levels - 2) + closing * (levels - 2)
    return b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":' + inner + b"}}"


def code_of(body: bytes) -> int:
    """The JSON-RPC code with which a body is refused."""
    with pytest.raises(Refusal) as refused:
        decode_message(body)
    assert refused.value.status == 400
    return refused.value.code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\xed\xa0\x80"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\x00"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m"}\x00',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":01}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,}}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}',
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_not_json_in_utf8_is_a_parse_error(body: bytes) -> None:
    """JSON-RPC 2.0 §5.1; also inside the parts that are passed on unread."""
    assert code_of(body) == -32700


@pytest.mark.parametrize(
    "body",
    [
        b"1",
        b'"x"',
        b"null",
        b"{}",
        b"[]",
        b'{"id":1,"method":"m"}',
        b'{"jsonrpc":"1.0","id":1,"method":"m"}',
        b'{"jsonrpc":2,"id":1,"method":"m"}',
        b'{"jsonrpc":"2.0","id":null,"method":"m"}',
        b'{"jsonrpc":"2.0","id":true,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1.5,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1e3,"method":"m"}',
        b'{"jsonrpc":"2.0","id":{},"method":"m"}',
        b'{"jsonrpc":"2.0","id":[1],"method":"m"}',
        b'{"jsonrpc":"2.0","id":"' + b"x" * 300 + b'","method":"m"}',
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"m"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":1,"method":""}',
        b'{"jsonrpc":"2.0","id":1,"method":"a\\u0000b"}',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 200 + b'"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":"x"}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","result":{}}',
        nested(65),
        nested(5000),
        nested(200_000),
    ],
)
def test_what_is_not_one_message_is_an_invalid_request(body: bytes) -> None:
    """MCP, Base Protocol: ids are strings or integers; depth at most 64 (security D1)."""
    assert code_of(body) == -32600


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":[]}', b"7"),
        (b'{"jsonrpc":"2.0","id":"a","method":7}', b'"a"'),
        (b'{"id":7,"method":"m"}', b"7"),
        (b'{"jsonrpc":"2.0","id":7}', b"7"),
        (nested(65), b"1"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":"x","result":{},"error":{}}', None),
        (b'{"jsonrpc":"2.0","method":"m","params":[]}', None),
        (nested(5000), None),
        (b"7", None),
        (b"{", None),
    ],
)
def test_a_refused_request_is_refused_by_its_id(body: bytes, request_id: bytes | None) -> None:
    """MCP 2026-07-28, Error Responses: the same id where it can be read; stdio has nothing else to tell by."""
    with pytest.raises(Refusal) as refused:
        decode_message(body)
    assert refused.value.request_id == request_id


def test_numbers_have_at_most_4300_digits_and_strings_as_many_as_they_like() -> None:
    """Security D1: longer ones cost some parsers quadratic time and make others fail."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":%b,"b":"\\"%b\\\\"}}'
    assert code_of(body % (b"9" * 4301, b"")) == -32600
    assert code_of(body % (b"-1" + b"0" * 4300 + b".5", b"9" * 5000)) == -32600
    assert isinstance(decode_message(body % (b"9" * 4300, b"9" * 5000)), Request)
    for place in (0, 1, 4299, 4300, 4301, 8000):
        assert code_of(body % (b'["%b",%b]' % (b"x" * place, b"9" * 4301), b"")) == -32600


def test_half_a_character_is_replaced_and_the_rest_kept() -> None:
    """Programs cut text in the middle of a character; the servers behind us take the escape, or fail on it."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\\ud83d","n":1.50,"b":"\\ud83d\\ude00"}}'
    assert decode_message(body) == Request(b"1", "m", b'{"a":"x\\ufffd","n":1.50,"b":"\\ud83d\\ude00"}')


def test_depth_sixty_four_passes() -> None:
    """The limit itself is allowed."""
    assert isinstance(decode_message(nested(64)), Request)


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    """A tool may be called with source code."""
    text = json.dumps('{[{["\\' * 500 + '"]}]}')
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":%b}}' % text.encode()
    assert isinstance(decode_message(body), Request)


def test_a_flat_list_of_many_objects_is_not_deep() -> None:
    """Breadth is limited by the size of the body alone."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[%b]}}' % b",".join([b'{"x":[]}'] * 10_000)
    assert isinstance(decode_message(body), Request)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{}:, é\n'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[{x', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    """The depth by definition."""
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(each) for each in value), default=0)
    return 0


@given(json_values, st.sampled_from([None, 1]), st.booleans())
def test_the_quick_depth_agrees_with_the_definition(value: object, indent: int | None, ascii_only: bool) -> None:
    """The check works on bytes with tricks; the definition is recursive and slow."""
    document = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    depth = depth_of(value)
    assert not is_deeper_than(document, depth)
    assert depth == 0 or is_deeper_than(document, depth - 1)


@pytest.mark.parametrize("request_id", [b"0", b"-7", b"12345678901234567890123", b'"a"', b'"\\u0061"', b'"\xc3\xa9"'])
def test_ids_and_params_are_kept_as_they_were_written(request_id: bytes) -> None:
    """relay.md 1: the rest travels as bytes."""
    params = b'{ "b": 1.50, "a":1E2,"\\u00e9":"\xc3\xa9" , "n":123456789012345678901234567890}'
    message = decode_message(b'{"jsonrpc":"2.0","x":1,"id":%b,"method":"m","params":%b}' % (request_id, params))

    assert message == Request(request_id, "m", params)


@pytest.mark.parametrize("tail", [b"", b',"params":null', b',"params":{}'])
def test_absent_params_are_an_empty_object(tail: bytes) -> None:
    """So that nobody after us has three cases."""
    assert decode_message(b'{"jsonrpc":"2.0","id":1,"method":"m"%b}' % tail) == Request(b"1", "m", b"{}")


def test_notifications_and_responses_are_told_apart() -> None:
    """JSON-RPC 2.0 §4.1: a notification is a request without the member `id`."""
    assert decode_message(b'{"jsonrpc":"2.0","method":"n"}') == ClientNotification("n", b"{}")
    response = b'{"jsonrpc":"2.0","id":"r1","result":{"action":"accept"}}'
    assert decode_message(response) == ClientResponse(b'"r1"', b'"result":{"action":"accept"}')
    refusal = b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}'
    assert decode_message(refusal) == ClientResponse(b"1", b'"error":{"code":1,"message":"x"}')
