"""Takes a provider's secrets out of bytes that are handed on as they come, wherever the pieces are cut. Pure.

It holds back no more than the longest secret, so that a body of any length passes.
"""

import html
import json
import re
from collections.abc import Collection
from typing import Final

from openai_routes.providers.failures import SHORTEST_SECRET

REDACTED: Final = b"[redacted]"


class Redactor:
    """Feed it the pieces of one body; `finish` gives what was held back."""

    def __init__(self, secrets: Collection[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if forms else None
        self._held_back = len(longest_first[0]) - 1 if forms else 0
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is certain of everything so far, and was not given back yet."""
        self._rest += data
        return self._taken(len(self._rest) - self._held_back)

    def finish(self) -> bytes:
        """What is left."""
        return self._taken(len(self._rest))

    def _taken(self, certain: int) -> bytes:
        """Everything before `certain`, and to its end a secret that begins there."""
        if self._pattern is None:
            certain, parts = len(self._rest), [self._rest]
        else:
            done, parts = 0, []
            for match in self._pattern.finditer(self._rest):
                if match.start() >= certain:
                    break
                parts += [self._rest[done : match.start()], REDACTED]
                done = match.end()
            certain = max(certain, done)
            parts.append(self._rest[done:certain])
        self._rest = self._rest[certain:]
        return b"".join(parts)


def _forms(secret: str) -> set[bytes]:
    """The secret as text, and as JSON and HTML write it."""
    escaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    texts = {secret, escaped, escaped.replace("/", "\\/"), json.dumps(secret)[1:-1], html.escape(secret)}
    return {text.encode("utf-8", "surrogatepass") for text in texts}
