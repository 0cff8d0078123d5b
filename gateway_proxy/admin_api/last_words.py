"""What a child wrote before it died, as its tenant's administrators may read it: no secret, no control character.

A program may print its environment when it fails. What its definition holds is taken out wherever it stands, line by
line, since that is how it is kept, and also where the end of a line that was cut holds only its beginning.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from gateway_proxy.domain.backend import Backend
from gateway_proxy.provisioning.definitions import REDACTED
from gateway_proxy.telemetry.logs import SECRET_VALUES

LINE_LENGTH: Final = 500
SHORTEST: Final = 4
_SHORTEST_PIECE: Final = 8
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def clean_lines(lines: Iterable[str], backend: Backend, *, with_arguments: bool) -> list[str]:
    """The lines without secrets; with `with_arguments` whoever reads may know the definition's arguments and path."""
    secrets = sorted(set(_secrets_of(backend, with_arguments=with_arguments)), key=len, reverse=True)
    cleaned = (_clean(line, secrets) for line in lines)
    return [line for line in cleaned if line]


def _secrets_of(backend: Backend, *, with_arguments: bool) -> Iterator[str]:
    for value in () if with_arguments else (*backend.args, backend.url or ""):
        yield from _spellings(value)
    for value in (*backend.env.values(), *backend.headers.values()):
        yield from _spellings(value)
        for piece in (*value.splitlines(), *value.split()):  # a key of many lines, `Bearer …`
            if len(piece) >= _SHORTEST_PIECE:
                yield from _spellings(piece)


def _spellings(secret: str) -> Iterator[str]:
    """As it is, in a URL, and in JSON."""
    text = _printable(secret).strip()
    yield from (each for each in (text, quote(secret, safe=""), json.dumps(secret)[1:-1]) if len(each) >= SHORTEST)


def _clean(line: str, secrets: list[str]) -> str:
    text = SECRET_VALUES.sub(REDACTED, _printable(_ESCAPES.sub("", line)).strip())
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    text = _without_beginning(text, secrets)
    return text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]}…"


def _without_beginning(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        for length in range(min(len(secret) - 1, len(text)), _SHORTEST_PIECE - 1, -1):
            if text.endswith(secret[:length]):
                return text[:-length] + REDACTED
    return text


def _printable(text: str) -> str:
    """Anything that does not print, or could change how the rest does, as a blank."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
