"""Which of the listed URI templates a URI is an instance of (RFC 6570). Matching only; nothing is expanded.

Templates come from backends, so matching takes linear time whatever they look like: each gap between two literals is
closed at the first place where the next literal stands, and never tried again.
"""

import re
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

MAX_TEMPLATE: Final = 1024
MAX_URI: Final = 8192
_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)[^{}]*\}")
_SPANNING: Final = frozenset("+#/?&")

T = TypeVar("T")


class TemplateTable(Generic[T]):
    """Templates and what is behind each. The one with most literal characters is tried first, then by spelling."""

    def __init__(self, templates: Iterable[tuple[str, T]]) -> None:
        compiled = [(template, compile_template(template), value) for template, value in templates]
        self._rows = sorted(
            ((template, pattern, value) for template, pattern, value in compiled if pattern is not None),
            key=lambda row: (-len(_EXPRESSION.sub("", row[0])), row[0]),
        )

    def find(self, uri: str) -> T | None:
        """What is behind the first template that `uri` fits."""
        if len(uri) > MAX_URI:
            return None
        for _, pattern, value in self._rows:
            if pattern.fullmatch(uri):
                return value
        return None


def compile_template(template: str) -> re.Pattern[str] | None:
    """A pattern for the URIs of a template; None for what is no template, or one that is too long.

    `{name}` stands for one path segment or a part of it, which is not empty; the operators that may span several
    (`{+path}`, `{/path*}`, `{?query*}`, …) for anything.
    """
    literals, gaps = _take_apart(template)
    if len(template) > MAX_TEMPLATE or any("{" in literal or "}" in literal for literal in literals):
        return None
    parts = [re.escape(literals[0])]
    for position, gap in enumerate(gaps, 1):
        literal = re.escape(literals[position])
        is_last = position == len(gaps)
        parts.append(f"{gap}{literal}" if is_last else f"(?>{gap}?{literal})")
    return re.compile("".join(parts), re.DOTALL)


def _take_apart(template: str) -> tuple[list[str], list[str]]:
    """The literals, and the pattern of each gap between two of them; neighbouring expressions are one gap."""
    literals, gaps, end = [""], list[str](), 0
    for found in _EXPRESSION.finditer(template):
        literal, end = template[end : found.start()], found.end()
        gap = ".*" if found[1] in _SPANNING and found[1] else "[^/]+"
        if literal or not gaps:
            literals[-1] += literal
            literals.append("")
            gaps.append(gap)
        elif gap == ".*":
            gaps[-1] = gap
    literals[-1] += template[end:]
    return literals, gaps
