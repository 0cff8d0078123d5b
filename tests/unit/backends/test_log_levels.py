"""Which log messages are a caller's (2025-11-25, Logging; 2026-07-28, per-request logLevel)."""

import pytest
from msgspec import Raw, structs

from gateway_proxy.backends.log_levels import EVERYTHING, LEVELS, NOTHING, asked_level, floor_of, rank_of
from gateway_proxy.backends.splice import read_request
from tests.support.relay_rooms import LEGACY, MODERN


def test_a_session_has_a_level_and_a_modern_request_its_own() -> None:
    """The one does not count for the other."""
    meta = b'{"_meta":{"io.modelcontextprotocol/logLevel":"info"}}'
    assert asked_level(structs.replace(LEGACY, log_level="error"), read_request("x", meta)) == "error"
    assert asked_level(structs.replace(MODERN, log_level="error"), read_request("x", meta)) == "info"
    for params in (b"{}", b'{"_meta":{}}', b'{"_meta":{"io.modelcontextprotocol/logLevel":7}}'):
        assert asked_level(MODERN, read_request("x", params)) is None


def test_without_a_level_an_older_client_gets_all_and_a_modern_one_none() -> None:
    """2025-11-25: the server may decide; 2026-07-28: opt-in."""
    assert floor_of(LEGACY, None) == EVERYTHING
    assert floor_of(MODERN, None) == NOTHING
    assert floor_of(MODERN, "loud") == NOTHING
    assert [floor_of(LEGACY, level) for level in LEVELS] == list(range(8))


@pytest.mark.parametrize(("params", "rank"), [(b'{"level":"debug"}', 0), (b'{"level":"emergency"}', 7)])
def test_a_message_has_the_rank_of_its_level(params: bytes, rank: int) -> None:
    """RFC 5424 §6.2.1, from the least severe up."""
    assert rank_of(Raw(params)) == rank


@pytest.mark.parametrize("params", [b"", b"{}", b'{"level":"loud"}', b'{"level":7}', b"[]"])
def test_a_message_without_a_level_is_not_lost(params: bytes) -> None:
    """A sloppy backend's message may be important."""
    assert rank_of(Raw(params)) == NOTHING - 1
