"""Reads the text out of chunks that say nothing else, without decoding the JSON around it. Pure.

Nearly every chunk of a stream is the one before it with another piece of text: same id, date, model and one choice.
What stands around the text is learnt from a chunk that was decoded; where the same stands around a JSON string without
escapes, the decoder would find that string and nothing more.
"""

from typing import Final

KEY: Final = b'"content":'


class RepeatedChunks:
    """One for each stream. `learn` from a chunk that held a text and nothing else, then ask `find_text` first."""

    __slots__ = ("_head", "_length", "_tail")

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._length = 0

    def learn(self, chunk: bytes, text: str) -> None:
        """Note what stands around `text` in `chunk`, if it stands there without escapes."""
        before, key, after = chunk.partition(KEY)
        value = after.lstrip(b" ")
        shown = b'"' + text.encode("utf-8", "surrogatepass") + b'"'
        if key and KEY not in after and value.startswith(shown) and b"\\" not in shown:
            self._head = before + key + after[: len(after) - len(value)] + b'"'
            self._tail = value[len(shown) - 1 :]
            self._length = len(self._head) + len(self._tail)

    def find_text(self, chunk: bytes) -> str | None:
        """The text of `chunk`; None when it must be decoded."""
        head, tail = self._head, self._tail
        if not head or len(chunk) < self._length or not (chunk.startswith(head) and chunk.endswith(tail)):
            return None
        middle = chunk[len(head) : len(chunk) - len(tail)]
        if b'"' in middle or b"\\" in middle:
            return None
        try:
            text = middle.decode()
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None  # control characters are no JSON; the decoder says so
