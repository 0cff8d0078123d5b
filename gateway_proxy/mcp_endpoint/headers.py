"""The request headers that Streamable HTTP gives a meaning to, looked up in the raw list.

Values are only read here; whether they fit the message is for the legs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PROTOCOL_VERSION: Final = b"mcp-protocol-version"
SESSION_ID: Final = b"mcp-session-id"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
ORIGIN: Final = b"origin"
AUTHORIZATION: Final = b"authorization"
PARAMETER: Final = b"mcp-param-"

_SINGLE: Final = frozenset({SESSION_ID, METHOD, NAME, ORIGIN})
_LISTS: Final = frozenset({b"accept", PROTOCOL_VERSION})

_JSON_RANGES: Final = ("application/json", "application/*", "*/*")
_SSE_RANGES: Final = ("text/event-stream", "text/*", "*/*")
_NOT_NAMED: Final = (0.0, 0)
_WEIGHT: Final = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.[0-9]*)?)\s*(?:;|$)")


@dataclass(slots=True)
class McpHeaders:
    """What was sent. `duplicated` names the first header that came twice though it must not.

    White space around a value does not belong to it (RFC 9110 §5.5), and not every server takes it away; `value` does.
    `repeats_body` is False where the transport has no headers that say again what the body says (stdio).
    """

    raw: Sequence[tuple[bytes, bytes]]
    values: Mapping[bytes, bytes]
    duplicated: str | None
    repeats_body: bool = True

    def value(self, name: bytes) -> bytes | None:
        """One value."""
        value = self.values.get(name)
        return None if value is None else value.strip(b" \t")

    def text(self, name: bytes) -> str | None:
        """One value as text; bytes outside ASCII are kept apart from each other (latin-1)."""
        value = self.values.get(name)
        return None if value is None else value.strip(b" \t").decode("latin-1")

    @property
    def accept(self) -> "Acceptable":
        """Which of the two answers the client takes; both when it does not say."""
        return read_accept(self.values.get(b"accept", b"*/*"))

    @property
    def has_json_body(self) -> bool:
        """Whether the body says it is JSON, and plain."""
        encoding = self.values.get(b"content-encoding")
        is_plain = encoding is None or encoding.strip().lower() == b"identity"
        return is_plain and is_json_type(self.values.get(b"content-type", b""))

    @property
    def content_length(self) -> int | None:
        """The declared size of the body; None when chunked, undeclared or nonsense (then the bytes are counted)."""
        value = self.values.get(b"content-length", b"").strip(b" \t")
        return int(value) if value.isdigit() and len(value) < 20 else None

    def parameters(self) -> dict[str, str | None] | None:
        """The `mcp-param-*` headers as text; one that came twice is None. None altogether where they do not exist."""
        if not self.repeats_body:
            return None
        found: dict[str, str | None] = {}
        for name, value in self.raw:
            if name.startswith(PARAMETER):
                named = name.decode("latin-1")
                found[named] = None if named in found else value.strip(b" \t").decode("latin-1")
        return found


def read_headers(raw: Sequence[tuple[bytes, bytes]]) -> McpHeaders:
    """Find what matters. Of a repeated `Accept` all count; of any other repeated header the first.

    A protocol version that is there several times, in lines or as a list (RFC 9110 §5.3), is one as long as all say the
    same: some clients, and proxies, add theirs to one that is there already.
    """
    values = dict(raw)
    duplicated: str | None = None
    if len(values) != len(raw):
        values, duplicated = _join(raw)
    version = values.get(PROTOCOL_VERSION)
    if version is not None and version.find(b",") >= 0:
        named = [member.strip(b" \t") for member in version.split(b",")]
        values[PROTOCOL_VERSION] = named[0]
        if duplicated is None and len(set(named)) > 1:
            duplicated = "mcp-protocol-version"
    return McpHeaders(raw, values, duplicated)


def _join(raw: Sequence[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], str | None]:
    """The headers where some are repeated, and which must not be."""
    values: dict[bytes, bytes] = {}
    duplicated: str | None = None
    for name, value in raw:
        if name not in values:
            values[name] = value
        elif name in _LISTS:
            values[name] += b"," + value
        elif name in _SINGLE and duplicated is None:
            duplicated = name.decode("ascii")
    return values, duplicated


@dataclass(frozen=True, slots=True)
class Acceptable:
    """The two shapes of an answer to a POST. `prefers_sse` is for a client that takes both and names streams first."""

    json: bool
    sse: bool
    prefers_sse: bool = False


@lru_cache(maxsize=256)
def read_accept(value: bytes) -> Acceptable:
    """Read an Accept header (RFC 9110 §12.5.1): the most specific range decides; of equal weights the first wins."""
    ranges: dict[str, tuple[float, int]] = {}
    for position, part in enumerate(value.decode("latin-1").lower().split(",")):
        kind, _, parameters = part.partition(";")
        weight = _WEIGHT.search(parameters)
        ranges[kind.strip()] = (1.0 if weight is None else float(weight[1]), -position)
    json, sse = (
        next((ranges[each] for each in named if each in ranges), _NOT_NAMED) for named in (_JSON_RANGES, _SSE_RANGES)
    )
    takes_json, takes_sse = json[0] > 0, sse[0] > 0
    return Acceptable(takes_json, takes_sse, takes_json and takes_sse and _SSE_RANGES[0] in ranges and sse > json)


@lru_cache(maxsize=256)
def is_json_type(value: bytes) -> bool:
    """Whether a Content-Type is application/json, in UTF-8 where it says so."""
    kind, _, parameters = value.decode("latin-1").lower().partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters)
    return kind.strip() == "application/json" and (charset is None or charset[1] in ("utf-8", "utf8", "us-ascii"))
