"""A worker's own copies of what it read from Redis, so that a call on a warm session needs no round trip.

Copies only: nothing is decided here and nothing written back.
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

MAX_ENTRIES: Final = 10_000

K = TypeVar("K")
T = TypeVar("T")


class CopyCache(Generic[K, T]):
    """Copies with an age, bounded, safe against a copy that is overtaken by its own tombstone.

    A reader takes a ticket before it asks Redis and hands it in with the answer. A `drop` in between spoils the
    ticket, so an answer read before an end and arriving after it is used once and not kept.
    """

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self._size = size
        self._copies: OrderedDict[K, tuple[T, float]] = OrderedDict()
        self._tickets: dict[K, object] = {}

    def get(self, key: K, *, newer_than: float) -> T | None:
        """The copy, if it was taken after the monotonic second `newer_than`."""
        entry = self._copies.get(key)
        return entry[0] if entry is not None and entry[1] > newer_than else None

    def ticket(self, key: K) -> object:
        """Announce a read of `key`."""
        ticket = object()
        self._tickets[key] = ticket
        return ticket

    def keep(self, key: K, copy: T, ticket: object, *, now: float) -> None:
        """Keep what was read under `ticket`, unless the key was dropped or announced again since."""
        if self._tickets.get(key) is not ticket:
            return
        del self._tickets[key]
        self._copies[key] = (copy, now)
        self._copies.move_to_end(key)
        if len(self._copies) > self._size:
            self._copies.popitem(last=False)

    def abandon(self, key: K, ticket: object) -> None:
        """The read under `ticket` brought nothing to keep."""
        if self._tickets.get(key) is ticket:
            del self._tickets[key]

    def drop(self, key: K) -> None:
        """Forget the copy and spoil a read under way."""
        self._copies.pop(key, None)
        self._tickets.pop(key, None)

    def clear(self) -> None:
        """Forget everything, as after a gap in the news."""
        self._copies.clear()
        self._tickets.clear()
