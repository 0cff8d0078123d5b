"""The worker's own copies: bounded, and never older than their tombstone."""

from gateway_proxy.sessions.cache import CopyCache


def test_a_copy_is_good_until_it_is_too_old() -> None:
    """The reader says how old a copy may be."""
    cache: CopyCache[str, int] = CopyCache()
    cache.keep("a", 1, cache.ticket("a"), now=10.0)

    assert cache.get("a", newer_than=9.0) == 1
    assert cache.get("a", newer_than=10.0) is None


def test_an_answer_overtaken_by_its_tombstone_is_not_kept() -> None:
    """Read, ended elsewhere, answer arrives: the copy would outlive the session."""
    cache: CopyCache[str, int] = CopyCache()
    ticket = cache.ticket("a")
    cache.drop("a")
    cache.keep("a", 1, ticket, now=10.0)

    assert cache.get("a", newer_than=0.0) is None


def test_of_two_readers_the_later_one_is_believed() -> None:
    """The earlier answer may be from before a change that the later reader already saw."""
    cache: CopyCache[str, int] = CopyCache()
    early, late = cache.ticket("a"), cache.ticket("a")
    cache.keep("a", 2, late, now=10.0)
    cache.keep("a", 1, early, now=10.0)

    assert cache.get("a", newer_than=0.0) == 2


def test_the_cache_is_bounded_and_leaves_no_tickets_behind() -> None:
    """Ids come from clients."""
    cache: CopyCache[str, int] = CopyCache(size=2)
    for n, key in enumerate("abc"):
        cache.keep(key, n, cache.ticket(key), now=10.0)
    cache.abandon("x", cache.ticket("x"))

    assert [cache.get(key, newer_than=0.0) for key in "abc"] == [None, 1, 2]
    cache.clear()
    assert cache.get("c", newer_than=0.0) is None
