"""JSON text with half a character in it: an escape like `\\ud83d` alone, as programs write that cut text in UTF-16.

JSON's grammar allows it (RFC 8259 §8.2), UTF-8 has no bytes for it, and strict parsers refuse the whole document.
"""

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_REPLACEMENT: Final = rb"\ufffd"


def replace_lone_surrogates(document: bytes) -> bytes:
    """The document with U+FFFD for every half of a character; the same object when there is none."""
    if b"\\ud" not in document and b"\\uD" not in document:
        return document
    mended = _ESCAPE.sub(lambda found: found[0] if found[1] is None else _REPLACEMENT, document)
    return document if mended == document else mended
