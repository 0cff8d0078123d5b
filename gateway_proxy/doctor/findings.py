"""What the doctor found, step by step. Nothing is asked here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

Verdict = Literal["ok", "warn", "FAIL", "skip"]
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class Finding:
    """One step: what was expected, what was seen, and what to do next if it is not well."""

    step: str
    verdict: Verdict
    seen: str
    expected: str = ""
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:<4}  {self.step}: {self.seen}"
        if self.expected:
            line += f"; expected {self.expected}"
        return f"{line}; {self.advice}" if self.advice else line


@dataclass(slots=True)
class Findings:
    """The findings so far; `hear` is told each as it comes."""

    hear: Callable[[Finding], None] = lambda finding: None
    all: list[Finding] = field(default_factory=list)

    def ok(self, step: str, seen: str) -> None:
        """It is as Claude needs it."""
        self._add(Finding(step, "ok", seen))

    def warn(self, step: str, seen: str, *, expected: str = "", advice: str = "") -> None:
        """It works, or may, but somebody will stumble over it."""
        self._add(Finding(step, "warn", seen, expected, advice))

    def fail(self, step: str, seen: str, *, expected: str = "", advice: str = "") -> None:
        """Claude does not get past this."""
        self._add(Finding(step, "FAIL", seen, expected, advice))

    def skip(self, step: str, seen: str) -> None:
        """It could not be tried."""
        self._add(Finding(step, "skip", seen))

    @property
    def has_failed(self) -> bool:
        """Whether any step is a FAIL."""
        return any(finding.verdict == "FAIL" for finding in self.all)

    def _add(self, finding: Finding) -> None:
        self.all.append(finding)
        self.hear(finding)


def quoted(value: object) -> str:
    """A piece of what the other side sent, short and printable, for repeating it."""
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
