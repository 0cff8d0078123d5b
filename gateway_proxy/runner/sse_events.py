"""Server-sent events, read from bytes (HTML Living Standard §9.2.6), with a cap per event. Pure; no connection."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway_proxy.runner.framing import LINE_CAP, LineSplitter, Oversized

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type ("message" when it has none) and its data, lines joined; `Oversized` when over the cap."""

    name: str
    data: bytes | Oversized


class EventReader:
    """Cuts a byte stream into events. Lines may end with LF or CR LF; `id` and `retry` mean nothing to us."""

    def __init__(self, cap: int = LINE_CAP) -> None:
        self._cap = cap
        self._lines = LineSplitter(cap + len(b"data: "))
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._oversized: Oversized | None = None
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield each event that `data` completes."""
        for line in self._lines.feed(data):
            if isinstance(line, Oversized):
                self._oversized = Oversized(line.head.partition(b":")[2], line.tail)
                continue
            text = line.removesuffix(b"\r")
            if self._is_first:
                text = text.removeprefix(_BOM)
                self._is_first = False
            if text:
                self._take_field(text)
            elif self._data or self._oversized is not None:
                yield self._complete()
            else:
                self._name = ""

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"data" and self._oversized is None:
            self._size += len(value) + 1
            self._data.append(value)
            if self._size > self._cap:
                whole = b"\n".join(self._data)
                self._oversized = Oversized(whole[:4096], whole[-4096:])
                self._data.clear()

    def _complete(self) -> Event:
        event = Event(self._name or "message", self._oversized or b"\n".join(self._data))
        self._name, self._data, self._size, self._oversized = "", [], 0, None
        return event
