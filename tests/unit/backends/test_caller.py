"""What a caller declares, in which form it is remembered, and how much of it."""

import tracemalloc

from gateway_proxy.backends import caller as room
from gateway_proxy.backends.caller import MAX_CAPABILITIES, NOTHING_DECLARED, Caller

TASKS = b'{"extensions":{"io.modelcontextprotocol/tasks":{},"other":{}},"sampling":{}}'


def caller(capabilities: bytes) -> Caller:
    """A client of 2026-07-28."""
    return Caller(None, "2026-07-28", b"{}", capabilities, modern=True)


def test_a_caller_without_the_extension_stays_the_very_same() -> None:
    """It is on the path of every call: nothing is made, and nothing is looked up."""
    plain = caller(b'{"sampling":{}}')
    assert plain.without_tasks() is plain


def test_the_extension_for_tasks_is_taken_out_and_the_rest_stays() -> None:
    """Equal bytes that were read anew for each request are the same caller."""
    for _ in range(3):
        left = caller(bytes(bytearray(TASKS))).without_tasks()
        assert left.capabilities_json == b'{"extensions":{"other":{}},"sampling":{}}'


def test_no_caller_fills_our_memory_with_capabilities() -> None:
    """Security D1: memos are bounded in entries, so what they are asked with has to be bounded in bytes."""
    room._read_declared.cache_clear()
    room._without_tasks.cache_clear()
    tracemalloc.start()
    try:
        for number in range(20):
            large = caller(TASKS[:-1] + b',"x":"%s%d"}' % (b"x" * MAX_CAPABILITIES * 10, number))
            assert large.without_tasks() is large
            assert large.declared_in_all() is large.declared() is large.declared_raw() is NOTHING_DECLARED
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < MAX_CAPABILITIES * 30
