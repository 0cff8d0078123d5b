"""What providers say when they fail, in whatever shape. Words only; which error it becomes is decided elsewhere."""

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MESSAGE_LIMIT: Final = 2000
WORD_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the provider put it; fields that it left out are empty or None."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


def read_failure(body: bytes, *, secret: str) -> Failure:
    """Read an error body: OpenAI's and Anthropic's `error` object, or the other shapes that are around."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Failure(_clean(body.decode("utf-8", "replace"), secret) if _is_prose(body) else "")
    return failure_of(decoded, secret=secret)


def failure_of(decoded: Any, *, secret: str) -> Failure:
    """The same for a decoded value, as it stands in a stream."""
    value = decoded[0] if isinstance(decoded, list) and decoded else decoded
    if not isinstance(value, dict):
        return Failure("")
    error = value.get("error", value)
    if isinstance(error, str):
        return Failure(_clean(error, secret))
    if not isinstance(error, dict):
        return Failure("")
    message = next((error[key] for key in ("message", "detail", "error") if isinstance(error.get(key), str)), "")
    return Failure(_clean(message, secret), _word(error, "type"), _word(error, "param"), _word(error, "code"))


def _is_prose(body: bytes) -> bool:
    start = body.lstrip()[:1]
    return bool(start) and start not in b"<{["


def _word(error: dict[str, Any], key: str) -> str | None:
    value = error.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _clean(str(value), "")[:WORD_LIMIT] or None


def _clean(text: str, secret: str) -> str:
    if len(secret) >= 8:
        text = text.replace(secret, "[redacted]")
    printable = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: MESSAGE_LIMIT * 2])
    return " ".join(printable.split())[:MESSAGE_LIMIT]
