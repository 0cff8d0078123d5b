"""What providers say when they fail, in whatever shape. Words only; which error it becomes is decided elsewhere."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MESSAGE_LIMIT: Final = 2000
WORD_LIMIT: Final = 100
SHORTEST_SECRET: Final = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the provider put it; fields that it left out are empty or None."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


def read_failure(body: bytes, *, secrets: Collection[str]) -> Failure:
    """Read an error body: OpenAI's and Anthropic's `error` object, or the other shapes that are around.

    None of `secrets` is repeated.
    """
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Failure(_clean(body.decode("utf-8", "replace"), secrets) if _is_prose(body) else "")
    return failure_of(decoded, secrets=secrets)


def failure_of(decoded: Any, *, secrets: Collection[str]) -> Failure:
    """The same for a decoded value, as it stands in a stream."""
    value = decoded[0] if isinstance(decoded, list) and decoded else decoded
    if not isinstance(value, dict):
        return Failure("")
    error = value.get("error", value)
    if isinstance(error, str):
        return Failure(_clean(error, secrets))
    if not isinstance(error, dict):
        return Failure("")
    message = next((error[key] for key in ("message", "detail", "error") if isinstance(error.get(key), str)), "")
    words = (_word(error, key, secrets) for key in ("type", "param", "code"))
    return Failure(_clean(message, secrets), *words)


def _is_prose(body: bytes) -> bool:
    start = body.lstrip()[:1]
    return bool(start) and start not in b"<{["


def _word(error: dict[str, Any], key: str, secrets: Collection[str]) -> str | None:
    value = error.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _clean(str(value), secrets)[:WORD_LIMIT] or None


def _clean(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "[redacted]")
    printable = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: MESSAGE_LIMIT * 2])
    return " ".join(printable.split())[:MESSAGE_LIMIT]
