"""The framing of server-sent events (WHATWG HTML §9.2)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_routes.providers.sse import EVENT_LIMIT, EventTooLarge, SseReader

STREAM = b'data: {"a":1}\n\n: comment\n\nevent: x\ndata: two\ndata:lines\n\ndata: [DONE]\n\n'
EVENTS = [b'{"a":1}', b"two\nlines", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int], newline: bytes) -> None:
    """Any of the three line ends, cut anywhere, also inside a CRLF."""
    stream = STREAM.replace(b"\n", newline)
    reader = SseReader()
    found: list[bytes] = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        found += reader.feed(stream[start:end])
    assert found + reader.finish() == EVENTS


def test_the_last_event_counts_without_its_empty_line() -> None:
    """Some servers close right behind the last byte."""
    reader = SseReader()
    assert reader.feed(b"data: x\n") == []
    assert reader.finish() == [b"x"]


def test_an_endless_event_is_refused() -> None:
    """Security D2."""
    reader = SseReader()
    reader.feed(b"x" * EVENT_LIMIT)
    with pytest.raises(EventTooLarge):
        reader.feed(b"x")
