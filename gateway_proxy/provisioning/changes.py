"""What applying a configuration changes, and how that is told. Secrets are never in here: they are only "changed"."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

Action = Literal["add", "change", "remove"]
Noun = Literal["tenant", "backend", "provider", "assistant", "static key", "apiman", "user", "membership"]

# Fields whose values may be printed. A URL or an argument can carry a key, so they are not among them.
_PRINTABLE: Final = frozenset(
    {
        "transport", "isolation", "timeout", "start_timeout", "encoding", "encoding_error_handler", "enabled", "kind",
        "model", "origin", "provider", "mcp_servers", "max_tool_iterations", "temperature", "top_p", "max_tokens",
        "prefix", "separator", "role", "name", "mode", "cache_ttl",
    }
)  # fmt: skip
_IGNORED: Final = frozenset({"id", "tenant_id", "revision", "unreadable"})
_MARKS: Final[Mapping[Action, str]] = {"add": "+", "change": "~", "remove": "-"}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is added, changed or removed. `details` say what about it, in words that may be printed."""

    action: Action
    noun: Noun
    name: str
    tenant: str | None = None
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.tenant}/" if self.tenant is not None and self.noun != "tenant" else ""
        about = f": {', '.join(self.details)}" if self.details else ""
        return f"{_MARKS[self.action]} {self.noun} {where}{self.name}{about}"


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """All changes of one application, and notices about what was read but has no effect."""

    changes: tuple[Change, ...] = ()
    notices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def summary(self) -> str:
        """One sentence: how many were added, changed and removed."""
        if not self.changes:
            return "No changes."
        count = {action: sum(change.action == action for change in self.changes) for action in _MARKS}
        return f"{count['add']} added, {count['change']} changed, {count['remove']} removed."


def differences(before: Any, after: Any) -> tuple[str, ...]:
    """What differs between two dataclasses of one kind, field by field."""
    told: list[str] = []
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in _IGNORED or old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping) and field.name != "extra_body":
            told += _mapping_differences(field.name, old, new)
        elif field.name in _PRINTABLE:
            told.append(f"{field.name} {_text(old)} → {_text(new)}")
        else:
            told.append(f"{field.name} changed")
    return tuple(told)


def _mapping_differences(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return (
        [f"{name}.{key} added" for key in new if key not in old]
        + [f"{name}.{key} changed" for key in new if key in old and old[key] != new[key]]
        + [f"{name}.{key} removed" for key in old if key not in new]
    )


def _text(value: Any) -> str:
    if value is None:
        return "(default)"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
