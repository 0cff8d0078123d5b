"""The text of an answer as its reader gets it: rounds of the tool loop are paragraphs, thoughts are left out if wished.
Pure; one instance for each answer, streamed or not.
"""

from typing import Final

from openai_routes.thoughts import ThoughtFilter

BREAK: Final = "\n\n"


class ShownText:
    """Feed it the model's pieces; what it gives back, joined, is the answer's text."""

    def __init__(self, *, strips_thoughts: bool) -> None:
        self._thoughts = ThoughtFilter() if strips_thoughts else None
        self._last = ""
        self._held = ""
        self._is_new_round = False

    def feed(self, text: str) -> str:
        """What to show of a piece; empty for thoughts, and for what may become the tag of one."""
        if self._thoughts is not None:
            text = self._thoughts.feed(text)
        if not text:
            return text
        if self._is_new_round:
            text = self._begin_round(text)
        self._last = text
        return text

    def end_round(self) -> None:
        """The model's turn is over; text that follows is another paragraph."""
        if self._thoughts is not None:
            self._held += self._thoughts.finish()
            self._thoughts = ThoughtFilter()
        self._is_new_round = True

    def begin_elsewhere(self) -> None:
        """Something else was shown in between: what follows needs no break."""
        self._last = ""

    def finish(self) -> str:
        """What is still held back at the end."""
        rest = "" if self._thoughts is None else self._thoughts.finish()
        return self._begin_round(rest) if self._is_new_round else rest

    def _begin_round(self, text: str) -> str:
        self._is_new_round = False
        held, self._held = self._held, ""
        before = held or self._last
        return held + (BREAK if before and text and before[-1] not in "\r\n" else "") + text
