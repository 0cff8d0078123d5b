"""stdio framing: bytes in, lines out, with a cap (MCP 2025-11-25, Transports: stdio). Pure; no process, no pipe.

Ours instead of the SDK's because a child may send anything: a line without end, half a character, gigabytes.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

LINE_CAP: Final = 4 * 1024 * 1024
_EDGE: Final = 4096
_ID_AT_HEAD: Final = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_ID_AT_TAIL: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')


@dataclass(frozen=True, slots=True)
class Oversized:
    """What is left of a line over the cap: its first and last bytes, enough to tell whose answer it was."""

    head: bytes
    tail: bytes

    def find_id(self) -> int | None:
        """The JSON-RPC id, if it stands where the SDKs write it: at the start or at the very end of the object."""
        found = _ID_AT_HEAD.match(self.head) or _ID_AT_TAIL.search(self.tail)
        return int(found.group(1)) if found else None


def ends_of(line: bytes) -> Oversized:
    """A line that is no message, cut down in the same way: it may still tell whose answer it was meant to be."""
    return Oversized(head=line[:_EDGE], tail=line[-_EDGE:])


class LineSplitter:
    """Cuts a byte stream into lines. Holds at most `cap` bytes of an unfinished line; the rest of it is dropped."""

    def __init__(self, cap: int = LINE_CAP) -> None:
        self._cap = cap
        self._partial = bytearray()
        self._cut: bytes | None = None  # head of the oversized line that is being skipped

    def feed(self, data: bytes) -> Iterator[bytes | Oversized]:
        """Yield each line that `data` completes, without its line end; an over-long one as `Oversized`."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if not self._partial and self._cut is None and len(piece) <= self._cap:
                yield piece
            else:
                self._append(piece)
                yield self._take()
        if rest:
            self._append(rest)

    def _append(self, piece: bytes) -> None:
        self._partial += piece
        if len(self._partial) > self._cap and self._cut is None:
            self._cut = bytes(self._partial[:_EDGE])
        if self._cut is not None:
            del self._partial[: max(0, len(self._partial) - _EDGE)]

    def _take(self) -> bytes | Oversized:
        held, cut = bytes(self._partial), self._cut
        self._partial = bytearray()
        self._cut = None
        return held if cut is None else Oversized(head=cut, tail=held)


_ASCII: Final = "".join(map(chr, range(128)))
ErrorHandler = Literal["strict", "ignore", "replace"]


class Charset:
    """The `encoding` and `encoding_error_handler` of a backend: what the child speaks, to and from our UTF-8."""

    def __init__(self, encoding: str = "utf-8", errors: ErrorHandler = "strict") -> None:
        self._name = codecs.lookup(encoding).name
        self._errors = errors
        self._is_utf8 = self._name == "utf-8"

    @staticmethod
    def is_usable(encoding: str) -> bool:
        """True for a known text encoding in which ASCII is ASCII and nothing else is: lines end at the byte 0x0A."""
        try:
            is_ascii_kept = _ASCII.encode(encoding) == _ASCII.encode("ascii")
            others = (sample.encode(encoding, "ignore") for sample in "ä\u3042\u4e2d\u044f")
            return is_ascii_kept and not any(other and other.isascii() for other in others)
        except (LookupError, UnicodeError):
            return False

    def decode(self, line: bytes) -> bytes:
        """A line of the child as UTF-8. Raises UnicodeDecodeError under `strict`."""
        if line.isascii():
            return line
        if self._is_utf8 and self._errors == "strict":
            return line  # the envelope reader refuses bad UTF-8
        return line.decode(self._name, self._errors).encode("utf-8")

    def encode(self, message: bytes) -> bytes:
        """Our UTF-8 as the child wants it. Raises UnicodeEncodeError under `strict`."""
        if self._is_utf8 or message.isascii():
            return message
        return message.decode("utf-8").encode(self._name, self._errors)
