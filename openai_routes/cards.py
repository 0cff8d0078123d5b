"""Tool cards of Open WebUI (`<details type="tool_calls" …>`) that come back in an assistant's text.

Open WebUI shows them as cards and sends them back verbatim with the next question. A model that reads them as text
begins to write such cards instead of calling tools, so they become what they stand for. Linear in the text; pure.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MARKER: Final = re.compile(r'<details type="(?:tool_calls|reasoning)"')
END: Final = "</details>"
ATTRIBUTE: Final = re.compile(r'([a-z_]{1,20})="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Card:
    """A tool call that happened, as the card tells it. `arguments` and `result` are text as the client had it."""

    id: str
    name: str
    arguments: str
    result: str


def has_cards(raw: bytes) -> bool:
    """Whether the JSON of a message can hold a card; cheap, and true too often rather than too seldom."""
    return b"<details type=" in raw


def split_cards(text: str) -> Iterator[str | Card]:
    """The text around the cards, and the cards, in order. Cards that tell nothing, and reasoning, are left out."""
    position = 0
    while (marker := MARKER.search(text, position)) is not None:
        start = marker.start()
        if before := text[position:start].strip():
            yield before
        end = text.find(END, start)
        position = len(text) if end < 0 else end + len(END)
        card = _read(text[start:position])
        if card is not None:
            yield card
    if rest := text[position:].strip():
        yield rest


def _read(element: str) -> Card | None:
    head = element.partition(">\n")[0] if ">\n" in element else element.partition("<summary>")[0]
    attributes = {name: html.unescape(value) for name, value in ATTRIBUTE.findall(head)}
    if attributes.get("type") != "tool_calls" or not attributes.get("name"):
        return None
    if attributes.get("done") == "false":
        return None
    return Card(attributes.get("id", ""), attributes["name"], attributes.get("arguments", ""), _result(attributes))


def _result(attributes: dict[str, str]) -> str:
    return attributes.get("result") or "(no result was kept)"
