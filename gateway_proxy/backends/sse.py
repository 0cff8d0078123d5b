"""Server-sent events as bytes (WHATWG HTML §9.2): events in, their data out. It knows nothing of what they mean."""

import re
from dataclasses import dataclass
from typing import Final

_BLANK: Final = re.compile(rb"[\r\n](?:(?<=\n)|\n|(?!\n))(?:\r\n|\n|\r(?!\n))")
"""Two line ends. It begins with a set of characters, which is looked for four times as fast as a group of them."""
_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A  # as numbers: looking for bytes in bytes makes an exception first
_CR: Final = 0x0D
_MESSAGES: Final = (b"", b"message")
"""Events of another type are none of MCP's: servers send pings and the like."""


class EventTooLarge(Exception):
    """One event is over the limit. Stays inside this room."""


@dataclass(slots=True)
class SseParser:
    """Feed it the body in pieces, take the data of each complete event.

    Comments, empty events and those of another type than `message` yield nothing. `last_event_id` and `retry` (seconds)
    are what the stream last said; they serve to resume it.
    """

    limit: int
    last_event_id: str = ""
    retry: float | None = None
    _buffer: bytearray | None = None
    _is_started: bool = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that this piece completes, in order.

        Raises:
            EventTooLarge: An event is over `limit` bytes.
        """
        if not self._is_started and chunk:
            self._is_started = True
            chunk = chunk.removeprefix(_BOM)
        pending = self._buffer
        if pending is None:
            buffer, scan = chunk, 0
        else:
            scan = max(0, len(pending) - 3)
            pending += chunk
            buffer = bytes(pending) if _BLANK.search(pending, scan) else b""
        events: list[bytes] = []
        start = 0
        while buffer and (match := _BLANK.search(buffer, scan)) is not None:
            data = self._read_block(buffer[start : match.start()])
            if data:
                events.append(data)
            start = scan = match.end()
        self._keep(buffer, start, pending)
        return events

    def finish(self) -> list[bytes]:
        """The body ended: an event that lacks only its blank line is taken all the same."""
        rest, self._buffer = self._buffer, None
        data = self._read_block(bytes(rest)) if rest else b""
        return [data] if data else []

    def _keep(self, buffer: bytes, start: int, pending: bytearray | None) -> None:
        if buffer:
            rest = buffer[start:]
            self._buffer = bytearray(rest) if rest else None
        elif pending is None:
            self._buffer = None
        if self._buffer is not None and len(self._buffer) > self.limit:
            raise EventTooLarge

    def _read_block(self, block: bytes) -> bytes:
        if len(block) > self.limit:
            raise EventTooLarge
        if block.startswith(b"data: ") and _LF not in block and _CR not in block:
            return block[6:]
        data: list[bytes] = []
        kind = b""
        for line in block.splitlines():
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value
            elif name == b"id" and b"\x00" not in value and len(value) <= 1024:
                self.last_event_id = value.decode("utf-8", "replace")
            elif name == b"retry" and value.isdigit() and len(value) <= 9:
                self.retry = int(value) / 1000
        return b"\n".join(data) if kind in _MESSAGES else b""
