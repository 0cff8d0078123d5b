"""Function names that every provider takes (`^[a-zA-Z0-9_-]{1,64}$`), the same on every restart. Pure.

Client tools are named first and keep their names where they conform; what clashes with them gives way.
"""

import re
from collections.abc import Callable, Container, Iterable
from hashlib import sha256
from typing import Final

LENGTH: Final = 64
CONFORMING: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")


def conforming(name: str) -> str:
    """`name` with other characters as `_`; over 64: the first 55, `_`, and 8 hex digits of its SHA-256."""
    if CONFORMING.fullmatch(name):
        return name
    replaced = FOREIGN.sub("_", name) or "_"
    return replaced if len(replaced) <= LENGTH else suffixed(name)


def suffixed(name: str) -> str:
    """`name` made conforming and distinct by 8 hex digits of its SHA-256."""
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{FOREIGN.sub('_', name)[: LENGTH - 9]}_{digest}"


def assign_names(names: Iterable[str], taken: Container[str] = ()) -> dict[str, str]:
    """Function name → name, in order, none of them in `taken`. Names that would collide all get their digest."""
    originals = list(dict.fromkeys(names))
    return _assign(originals, lambda name: name in taken)


def _assign(originals: list[str], is_taken: Callable[[str], bool]) -> dict[str, str]:
    wanted: dict[str, list[str]] = {}
    for name in originals:
        wanted.setdefault(conforming(name), []).append(name)
    assigned: dict[str, str] = {}
    for name in originals:
        short = conforming(name)
        if is_taken(short) or (len(wanted[short]) > 1 and short != name):
            short = suffixed(name)
        while is_taken(short) or short in assigned:
            short = suffixed(short + name)
        assigned[short] = name
    return assigned
