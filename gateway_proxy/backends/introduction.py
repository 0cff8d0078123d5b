"""How a backend introduced itself: the capabilities and instructions of its handshake. Read once, kept as raw JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

MAX_INSTRUCTIONS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a backend said it can do. `capabilities` are the members of that object, each as it came."""

    capabilities: Mapping[str, Raw] = field(default_factory=dict)
    instructions: str | None = None

    def has(self, capability: str) -> bool:
        """Whether it declares this one (null is not a declaration)."""
        raw = self.capabilities.get(capability)
        return raw is not None and bytes(raw) != b"null"

    def flag(self, capability: str, name: str) -> bool:
        """Whether it declares this one with `name: true`."""
        if not self.has(capability):
            return False
        try:
            return bytes(_members.decode(self.capabilities[capability]).get(name, Raw(b""))) == b"true"
        except msgspec.MsgspecError:
            return False


class _Answer(msgspec.Struct):
    capabilities: dict[str, Raw] | None = None
    instructions: Raw = Raw(b"")


_answer: Final = msgspec.json.Decoder(_Answer)
_members: Final = msgspec.json.Decoder(dict[str, Raw])

OF_AN_API: Final = Introduction({"tools": Raw(b"{}")})
"""An OpenAPI service has tools and nothing else."""


def read_introduction(result: bytes) -> Introduction:
    """The result of `initialize` or `server/discover`; what is malformed in it counts as not said."""
    try:
        answer = _answer.decode(result)
    except (msgspec.MsgspecError, RecursionError):
        return Introduction()
    capabilities = {name: Raw(bytes(value)) for name, value in (answer.capabilities or {}).items()}
    return Introduction(capabilities, _read_instructions(bytes(answer.instructions)))


def _read_instructions(raw: bytes) -> str | None:
    if raw[:1] != b'"' or len(raw) > MAX_INSTRUCTIONS:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None
