"""What the gateway tells a client that it can do: the union of what its backends said. Raw JSON; no wire shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from gateway_proxy.backends.envelope import Fields, write_fields
from gateway_proxy.backends.introduction import Introduction

_CHANGES: Final = Raw(b'{"listChanged":true}')
_RELAYED: Final[Fields] = {
    "tools": _CHANGES,
    "prompts": _CHANGES,
    "resources": Raw(b'{"subscribe":true,"listChanged":true}'),
    "completions": Raw(b"{}"),
    "logging": Raw(b"{}"),
}
_EVERYTHING: Final = write_fields(_RELAYED)


@dataclass(frozen=True, slots=True)
class Offer:
    """`capabilities` is a JSON object. `instructions` are those of the only backend; None leaves it to the surface.

    `is_mirror` says that the client sees one backend as it is: what that one does not say is not said either.
    """

    capabilities: bytes = _EVERYTHING
    instructions: str | None = None
    is_mirror: bool = False


EVERYTHING: Final = Offer()


def offer_of(introductions: Sequence[Introduction | None], *, is_alone: bool) -> Offer:
    """What to declare for backends that introduced themselves like this; None for one that has not yet.

    One that is not known yet may have anything, and a client that is not told of prompts never asks for them: the
    lists of what nobody has are empty, which harms less. Tools are always declared.
    """
    known = [introduction for introduction in introductions if introduction is not None]
    if len(known) < len(introductions):
        return EVERYTHING
    if is_alone:
        return Offer(write_fields(dict(known[0].capabilities)), known[0].instructions, is_mirror=True)
    declared = {
        name: value for name, value in _RELAYED.items() if name == "tools" or any(one.has(name) for one in known)
    }
    return Offer(write_fields(declared))
