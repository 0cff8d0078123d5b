"""Reads server-sent events (WHATWG HTML §9.2) from the bytes of a provider. Only the framing; no JSON here."""

from typing import Final

EVENT_LIMIT: Final = 10 * 1024 * 1024
PREFIX: Final = b"data: "


class EventTooLarge(Exception):
    """An event does not end within 10 MiB."""


class SseReader:
    """Give it bytes as they arrive; it gives back the data of the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._held_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that `data` completes, in order; events without data are passed over.

        Raises:
            EventTooLarge: More than 10 MiB without an end of event.
        """
        if b"\r" in data or self._held_return:
            data = self._unify(data)
        if not self._rest and data.startswith(PREFIX) and data.find(b"\n") == len(data) - 2:  # one event, as usual
            return [data[6:-2]] if data.endswith(b"\n\n") else self._split(data)
        return self._split(self._rest + data)

    def _split(self, data: bytes) -> list[bytes]:
        blocks = data.split(b"\n\n")
        self._rest = blocks.pop()
        if len(self._rest) > EVENT_LIMIT:
            raise EventTooLarge
        found = []
        for block in blocks:
            if block.startswith(PREFIX) and b"\n" not in block:
                found.append(block[6:])
            elif (event := _data_of(block)) is not None:
                found.append(event)
        return found

    def finish(self) -> list[bytes]:
        """The event that the stream ended in, if the server left out the empty line behind it."""
        block, self._rest = self._rest, b""
        event = _data_of(block)
        return [] if event is None else [event]

    def _unify(self, data: bytes) -> bytes:
        """CRLF and CR become LF; a CR at the end of a read waits for what follows it."""
        if self._held_return:
            data = b"\r" + data
        self._held_return = data.endswith(b"\r")
        if self._held_return:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(block: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
