"""Server-sent events as bytes (WHATWG HTML §9.2)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.backends.sse import EventTooLarge, SseParser

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
DATA = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b"").replace(b"\xef", b""))


def parse(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    """Everything the pieces yield, the end included."""
    parser = SseParser(limit)
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return found + parser.finish()


@given(
    st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=5), LINE_ENDS, st.lists(st.integers(0, 300), max_size=8)
)
def test_events_are_the_same_however_the_stream_is_cut(events: list[list[bytes]], end: bytes, cuts: list[int]) -> None:
    """WHATWG HTML §9.2.6: lines end with CR LF, LF or CR, in any pieces."""
    wire = b"".join(b"".join(b"data: " + line + end for line in event) + end for event in events)
    bounds = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    chunks = [wire[a:b] for a, b in itertools.pairwise(bounds) if b > a]
    expected = [b"\n".join(event) for event in events if b"\n".join(event)]
    assert parse(*chunks) == expected


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_no_bytes_whatever_break_the_parser(chunks: list[bytes]) -> None:
    """security.md §1 habit 6: fuzz parsers."""
    parse(*chunks, limit=10_000)


def test_comments_other_fields_and_empty_events_yield_nothing() -> None:
    """WHATWG HTML §9.2.6."""
    assert parse(b": ping\n\nevent: x\n\nid: 7\nretry: 250\n\ndata\n\ndata:\n\n") == []


def test_events_of_another_type_are_none_of_ours() -> None:
    """WHATWG HTML §9.2.6; both SDKs hear `message` alone. Servers send pings with data that is no JSON."""
    ping, message = b"event: ping\ndata: now\n\n", b"event: message\ndata: a\n\ndata: b\nevent: message\n\n"
    assert parse(ping + message + ping) == [b"a", b"b"]


def test_id_and_retry_are_remembered_for_resuming() -> None:
    """2025-11-25, Resumability: the last event id and the server's retry time."""
    parser = SseParser(1000)
    assert parser.feed(b"id: abc\nretry: 250\ndata: x\n\nid: d\x00e\ndata: y\n\n") == [b"x", b"y"]
    assert (parser.last_event_id, parser.retry) == ("abc", 0.25)


def test_a_last_event_without_its_blank_line_is_taken_at_the_end() -> None:
    """Some servers close right after the data line."""
    assert parse(b"\xef\xbb\xbfevent: message\r\ndata:x\r\n") == [b"x"]


@pytest.mark.parametrize(
    "chunks", [[b"data: " + b"x" * 200], [b"x" * 60, b"y" * 60], [b"data: " + b"x" * 200 + b"\n\n"]]
)
def test_an_event_over_the_limit_is_refused(chunks: list[bytes]) -> None:
    """security.md D2: SSE event ≤ 10 MiB from backends."""
    with pytest.raises(EventTooLarge):
        parse(*chunks, limit=100)


def test_many_small_events_in_an_endless_stream_are_not_kept() -> None:
    """security.md F7: bounded memory."""
    parser = SseParser(100)
    for _ in range(1000):
        assert parser.feed(b"data: 0123456789\n\n" * 10) == [b"0123456789"] * 10
    assert not parser._buffer
