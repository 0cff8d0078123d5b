"""Names of tools: what a backend calls a tool, and what clients see (contract.md, Names of tools). Pure functions."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway_proxy.domain.tenant import Naming

MAX_LENGTH: Final = 64
KEPT_LENGTH: Final = 55
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")


class Original(NamedTuple):
    """A tool as its backend lists it."""

    server: str
    tool: str


def listed_names(originals: Sequence[Original], naming: Naming) -> list[str]:
    """The name under which each tool is listed, in the order given; all different, and the same on every call.

    Names that would collide all take the `_` + 8 hex suffix of their original. With `prefix: none` names are
    untouched, since one backend is all there is. `originals` must hold no pair twice.
    """
    if naming.prefix == "none":
        return [original.tool for original in originals]
    return _settle([_full_name(original, naming.separator) for original in originals], naming.separator)


def alias_of(original: Original) -> str:
    """The dotted form that `tools/call` accepts as well."""
    return f"{original.server}.{original.tool}"


def server_of(name: str) -> str | None:
    """The server that a listed or dotted name claims to belong to; server names hold neither `_` nor `.`."""
    found = re.match(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:__|\.)", name)
    return found[1] if found else None


def _full_name(original: Original, separator: str) -> str:
    return f"{original.server}{separator}{original.tool}"


def _settle(full_names: list[str], separator: str) -> list[str]:
    """Suffix colliding names until none collide; a plain name that equals a suffixed one takes a suffix as well."""
    suffixed: set[int] = set()
    while True:
        names = [
            _with_suffix(full, separator) if position in suffixed else _plain(full, separator)
            for position, full in enumerate(full_names)
        ]
        counts = Counter(names)
        clashing = {position for position, name in enumerate(names) if counts[name] > 1}
        if not clashing - suffixed:
            return _tell_apart(names, full_names, separator) if clashing else names
        suffixed |= clashing


def _tell_apart(names: list[str], full_names: list[str], separator: str) -> list[str]:
    """Two originals with the same first characters and the same 8 hex digits: hash on, deterministically."""
    taken: set[str] = set()
    result = list(names)
    for position in sorted(range(len(names)), key=lambda index: full_names[index]):
        name, turn = names[position], 0
        while name in taken:
            turn += 1
            name = _with_suffix(full_names[position], separator, salt=f"\0{turn}")
        taken.add(name)
        result[position] = name
    return result


def _mangled(full: str, separator: str) -> str:
    if separator == "__":
        return _FOREIGN.sub("_", full)
    server, _, tool = full.partition(separator)
    return f"{server}{separator}{_FOREIGN.sub('_', tool)}"


def _plain(full: str, separator: str) -> str:
    mangled = _mangled(full, separator)
    return mangled if len(mangled) <= MAX_LENGTH else _with_suffix(full, separator)


def _with_suffix(full: str, separator: str, *, salt: str = "") -> str:
    digest = hashlib.sha256((full + salt).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_mangled(full, separator)[:KEPT_LENGTH]}_{digest}"
