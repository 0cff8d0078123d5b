"""Collecting everything that is wrong with a configuration, each at its key path, so that one run names it all."""

from collections.abc import Iterable
from typing import Final

from gateway_proxy.domain.errors import ConfigFileInvalid

KeyPath = tuple[str | int, ...]
_MOST_REPORTED: Final = 50
_LONGEST_QUOTE: Final = 60


class Problems:
    """The problems found so far. Values are never repeated here unless they are known not to be secret."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: KeyPath, expectation: str) -> None:
        """Note that what stands at `path` is not what was expected."""
        where = key_path_text(path)
        self._found.append(f"{where}: {expectation}" if where else expectation)

    def raise_if_any(self) -> None:
        """End the reading when something was found.

        Raises:
            ConfigFileInvalid: With all of it, in the order of the file.
        """
        if not self._found:
            return
        found = list(dict.fromkeys(self._found))
        left_out = len(found) - _MOST_REPORTED
        if left_out > 0:
            found[_MOST_REPORTED:] = [f"… and {left_out} more"]
        raise ConfigFileInvalid(tuple(found))


def key_path_text(path: KeyPath) -> str:
    """`("tenants", "acme", "args", 0)` as a person writes it: `tenants.acme.args[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = quotable(step)
            text += f".{name}" if text else name
    return text


def quotable(text: str) -> str:
    """A key or name of the file, safe to print on one line."""
    short = text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
    return "".join(character if character.isprintable() else "?" for character in short)


def suggestion(given: str, known: Iterable[str]) -> str:
    """` (did you mean "timeout"?)`, or the list of what there is when nothing is close and the list is short."""
    from difflib import get_close_matches  # noqa: PLC0415 - for a process that has met a mistake, and no other

    names = sorted(known)
    close = get_close_matches(given, names, n=1, cutoff=0.6) or get_close_matches(
        given.lower().replace("-", "_"), names, n=1, cutoff=0.6
    )
    if close:
        return f' (did you mean "{close[0]}"?)'
    if names and len(names) <= 16:
        return f" (known: {', '.join(names)})"
    return ""
