"""Lines out of bytes, whatever the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.runner.framing import Charset, LineSplitter, Oversized


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=40))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, sizes: list[int]) -> None:
    """MCP 2025-11-25, Transports: messages are delimited by newlines."""
    at_once = list(LineSplitter(50).feed(data))
    pieces: list[bytes | Oversized] = []
    splitter, position = LineSplitter(50), 0
    for size in [*sizes, len(data)]:
        pieces += splitter.feed(data[position : position + size])
        position += size
    assert pieces == at_once
    assert [line for line in at_once if isinstance(line, bytes)] == [
        line for line in data.split(b"\n")[:-1] if len(line) <= 50
    ]


def test_a_line_without_end_is_not_kept() -> None:
    """security.md P5: line limit; memory stays bounded however long it goes on."""
    splitter = LineSplitter(100)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 10_000)) == []
    (oversized,) = splitter.feed(b"end\nnext\n"[:4])
    assert isinstance(oversized, Oversized)
    assert len(oversized.head) + len(oversized.tail) <= 2 * 4096 + 10_000
    assert oversized.tail.endswith(b"end")
    assert list(splitter.feed(b"next\n")) == [b"next"]


@pytest.mark.parametrize(
    ("head", "tail", "found"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{', b"}}", 7),
        (b' { "id" : 8 , "jsonrpc"', b"}", 8),
        (b'{"result":{"a":', b'},"jsonrpc":"2.0","id":9}', 9),
        (b'{"result":{"a":', b'},"id":10,"jsonrpc":"2.0"}', 10),
        (b'{"result":{"a":', b'{"id":11}}', None),
        (b'{"result":{"id":12,', b"}}", None),
        (b'{"jsonrpc":"2.0","id":"13","result"', b"}}", None),
        (b'{"jsonrpc":"2.0","method":"x","params":{"id":14,', b"}}", None),
    ],
)
def test_the_owner_of_a_line_over_the_cap_is_found_where_the_sdks_write_it(
    head: bytes, tail: bytes, found: int | None
) -> None:
    """Only an id of the outermost object counts: text of a tool must not be able to fail another call."""
    assert Oversized(head, tail).find_id() == found


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "latin-1", "cp1252", "ascii", "shift_jis", "gb18030"])
def test_encodings_that_contain_ascii_are_usable(encoding: str) -> None:
    """compatibility.md B1."""
    assert Charset.is_usable(encoding)


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-32", "utf-7", "cp037", "hex", "rot13", "iso2022_jp", "hz", "nonsense", "", "utf-8-sig"]
)
def test_other_encodings_are_not(encoding: str) -> None:
    """Lines are cut at byte 0x0A, so it has to mean a newline."""
    assert not Charset.is_usable(encoding)


def test_messages_are_recoded_both_ways() -> None:
    """compatibility.md B1: encoding, encoding_error_handler."""
    latin = Charset("latin-1")
    assert latin.encode("ü".encode()) == b"\xfc"
    assert latin.decode(b"\xfc") == "ü".encode()
    with pytest.raises(UnicodeEncodeError):
        latin.encode("€".encode())
    assert Charset("latin-1", "ignore").encode("a€".encode()) == b"a"
    assert Charset("utf-8", "replace").decode(b"a\xff") == "a�".encode()
    with pytest.raises(UnicodeDecodeError):
        Charset("ascii").decode(b"\xff")
