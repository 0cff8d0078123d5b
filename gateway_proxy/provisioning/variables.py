"""`${VAR}` and `${VAR:-default}` in the string values of a configuration. The environment is passed in, not read here.

`$${` stands for a literal `${`. Keys are not expanded. As in a shell, the default also replaces an empty value.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway_proxy.provisioning.problems import KeyPath, Problems, quotable

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MOST_NODES: Final = 100_000  # anchors let a small file stand for a very large tree
_DEEPEST: Final = 40


class ExpandedText(str):
    """Text that came out of a variable: where a number or a boolean is expected, its text is read as one."""

    __slots__ = ()


class Expansion:
    """One pass over a document. Problems are collected; a value that has one is left as it stands."""

    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems
        self._visited = 0

    def expand(self, value: Any, path: KeyPath = ()) -> Any:
        """The same tree with every reference in its strings replaced."""
        self._visited += 1
        if self._visited > _MOST_NODES or len(path) > _DEEPEST:
            self._visited = _MOST_NODES  # whatever is left is cut off at once
            self._problems.add((), f"expected at most {_MOST_NODES} values and {_DEEPEST} levels")
            return None
        if isinstance(value, str):
            return self._expand_text(value, path)
        if isinstance(value, dict):
            return {key: self.expand(entry, (*path, str(key))) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.expand(entry, (*path, number)) for number, entry in enumerate(value)]
        return value

    def _expand_text(self, text: str, path: KeyPath) -> str:
        if "${" not in text:
            return text
        expanded = _REFERENCE.sub(lambda match: self._replacement(match, path), text)
        return ExpandedText(expanded)

    def _replacement(self, match: re.Match[str], path: KeyPath) -> str:
        if match[0] == "$${":
            return "${"
        body = match[1]
        if body is None:
            self._problems.add(path, 'a "${" is not closed; write "$${" for a literal one')
            return ""
        name, has_default, default = body.partition(":-")
        if not _NAME.match(name):
            self._problems.add(path, f'expected ${{NAME}} or ${{NAME:-default}}, got "${{{quotable(body)}}}"')
            return ""
        value = self._environ.get(name)
        if has_default:
            return value or default
        if value is None:
            self._problems.add(
                path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
            return ""
        return value


def escaped(text: str) -> str:
    """The inverse: text that expands to itself."""
    return text.replace("${", "$${")
