"""Path templates and the paths made from them. What a caller gives can never leave its segment (security.md 28, E3)."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote

_PARTS: Final = re.compile(r"\{([^{}/]+)\}")
_UNSAFE_LITERAL: Final = re.compile(r"[{}?#\\\x00-\x20\x7f]")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS: Final = frozenset({".", ".."})
_SEPARATORS: Final = re.compile(r"[/\\]")
MAX_UNQUOTES: Final = 4


class PathUnusable(ValueError):
    """A template or a value would make a path that goes elsewhere; the argument is one of our own phrases."""


def variables_of(template: str) -> tuple[str, ...]:
    """The names of a template's variables, in order.

    Raises:
        PathUnusable: It is not a path template.
    """
    literal = _PARTS.sub("x", template)
    if not template.startswith("/") or template.startswith("//") or _UNSAFE_LITERAL.search(literal):
        raise PathUnusable("a path that is not a path template")
    if _has_dot_segment(literal):
        raise PathUnusable("a path with dot segments")
    return tuple(_PARTS.findall(template))


def build_path(prefix: str, template: str, write: Callable[[str], str]) -> str:
    """The path under `prefix`, with each variable as `write` gives it: already percent-encoded.

    Raises:
        PathUnusable: The outcome has dot segments or left the prefix.
    """
    pieces = _PARTS.split(template)
    written = [
        write(piece) if index % 2 else quote(piece, safe="/:@!$&'()*+,;=~%") for index, piece in enumerate(pieces)
    ]
    path = prefix.rstrip("/") + "".join(written)
    if _has_dot_segment(path) or not path.startswith(prefix.rstrip("/") + "/"):
        raise PathUnusable("it would lead to another path")
    return path


def encode_segment(value: str) -> str:
    """A value inside a path segment: every reserved character is percent-encoded.

    A service that decodes first and routes afterwards would still be led elsewhere by dots between slashes, however
    often they are encoded; such values are refused.

    Raises:
        PathUnusable: The value is empty, holds control characters, or dot segments in any encoding.
    """
    if not value:
        raise PathUnusable("it may not be empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise PathUnusable("it may not hold control characters")
    if _has_dot_segment(value):
        raise PathUnusable("it may not hold dot segments")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise PathUnusable("it is not valid Unicode") from None


def _literal(piece: str) -> str:
    """What the document itself wrote: its escapes stay, and what may not stand in a path is escaped."""
    return quote(_STRAY_PERCENT.sub("%25", piece), safe="/:@!$&'()*+,;=~%")


def _has_dot_segment(text: str) -> bool:
    for _ in range(MAX_UNQUOTES):
        if any(segment.partition(";")[0].strip() in _DOTS for segment in _SEPARATORS.split(text)):
            return True
        decoded = unquote(text)
        if decoded == text:
            return False
        text = decoded
    return "%" in text
