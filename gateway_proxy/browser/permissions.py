"""Scopes in plain words, the same on every page."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway_proxy.domain.principal import Scope


@dataclass(frozen=True, slots=True)
class Permission:
    """What a person reads for one scope."""

    scope: Scope
    title: str
    explanation: str


PERMISSIONS: Final = (
    Permission(Scope.MCP, "Tools", "See and call the tools of the team, as you."),
    Permission(
        Scope.OPENAI, "Models and chat", "Chat with the team’s models and assistants, which may call its tools."
    ),
    Permission(Scope.ADMIN, "Administration", "Change the team’s servers, models and assistants."),
    Permission(Scope.OFFLINE_ACCESS, "Stay connected", "Keep this access while you are away, until you take it back."),
)


def permissions_of(scopes: Collection[str]) -> tuple[Permission, ...]:
    """The permissions that `scopes` name, in the order of importance."""
    return tuple(permission for permission in PERMISSIONS if permission.scope in scopes)


def permission_titles(scope: str) -> str:
    """A stored scope as a short list for people: `Tools, Stay connected`."""
    return ", ".join(permission.title for permission in permissions_of(scope.split())) or "no permission"
