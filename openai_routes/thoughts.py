"""Takes `<think>…</think>` out of streamed text (compatibility A8), wherever the pieces are cut. Pure."""

from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


class ThoughtFilter:
    """Feed it text; it gives back what is outside the tags. One instance for each answer."""

    def __init__(self) -> None:
        self._rest = ""
        self._inside = False
        self._after = False

    def feed(self, text: str) -> str:
        """The part of everything so far that is certainly outside, and was not given back yet."""
        self._rest += text
        out: list[str] = []
        while True:
            marker = CLOSE if self._inside else OPEN
            at = self._rest.find(marker)
            if at < 0:
                break
            if not self._inside:
                out.append(self._shown(self._rest[:at]))
            self._rest = self._rest[at + len(marker) :]
            self._after = self._inside
            self._inside = not self._inside
        held = _begun(self._rest, marker)
        ready, self._rest = self._rest[: len(self._rest) - held], self._rest[len(self._rest) - held :]
        if not self._inside:
            out.append(self._shown(ready))
        return "".join(out)

    def finish(self) -> str:
        """What was held back because it might have become a tag."""
        rest, self._rest = self._rest, ""
        return "" if self._inside else rest

    def _shown(self, text: str) -> str:
        """The blank lines behind a closing tag belong to the thought."""
        if self._after:
            text = text.lstrip()
            self._after = not text
        return text


def _begun(text: str, marker: str) -> int:
    """How many characters at the end of `text` may be the beginning of `marker`."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if marker.startswith(text[-length:]):
            return length
    return 0
