"""Events out of bytes (HTML Living Standard §9.2.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.sse_events import Event, EventReader


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: x\n\n", [Event("message", b"x")]),
        (b"event: endpoint\r\ndata: /m\r\n\r\n", [Event("endpoint", b"/m")]),
        (b"\xef\xbb\xbfdata:x\n\n", [Event("message", b"x")]),
        (b"data: a\ndata: b\n\n", [Event("message", b"a\nb")]),
        (b": comment\nid: 1\nretry: 5\nunknown: y\ndata: x\n\n", [Event("message", b"x")]),
        (b"event: lost\n\ndata: x\n\n", [Event("message", b"x")]),
        (b"data\n\n", [Event("message", b"")]),
        (b"data:  two blanks\n\n", [Event("message", b" two blanks")]),
        (b"data: unfinished\n", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    """HTML Living Standard §9.2.6."""
    assert list(EventReader().feed(stream)) == events


@given(
    st.lists(st.sampled_from([b"data: a", b"data: bb", b"event: e", b": c", b"", b"\r"]), max_size=30),
    st.integers(1, 7),
)
def test_events_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], size: int) -> None:
    """A chunk may end anywhere."""
    stream = b"\n".join(lines) + b"\n"
    reader = EventReader()
    pieces = [event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])]
    assert pieces == list(EventReader().feed(stream))


def test_an_event_over_the_cap_is_given_up_and_the_next_one_read() -> None:
    """security.md D2: bounded events, in one line or in many."""
    for stream in (b"data: " + b"x" * 200 + b"\n\n", b"data: xxxxxxxxxx\n" * 20 + b"\n"):
        first, second = EventReader(cap=100).feed(stream + b"data: y\n\n")
        assert isinstance(first.data, Oversized)
        assert second == Event("message", b"y")
