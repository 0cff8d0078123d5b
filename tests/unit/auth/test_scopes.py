"""Effective scopes (contract, Tokens and scopes)."""

from gateway_proxy.auth.scopes import effective_scopes
from gateway_proxy.domain.principal import TokenKind
from gateway_proxy.domain.tenant import Role


def test_a_members_token_never_carries_admin() -> None:
    """Effective scopes = granted ∩ what the membership allows now."""
    assert effective_scopes("mcp admin", role=Role.MEMBER, kind=TokenKind.PERSONAL) == {"mcp"}


def test_only_a_personal_token_of_an_administrator_carries_admin() -> None:
    """No registered or CIMD client can obtain `admin`, whatever its row says."""
    assert effective_scopes("mcp admin", role=Role.OWNER, kind=TokenKind.PERSONAL) == {"mcp", "admin"}
    assert effective_scopes("mcp admin", role=Role.OWNER, kind=TokenKind.ACCESS) == {"mcp"}


def test_unknown_scopes_vanish() -> None:
    """What no role has, nobody has."""
    assert effective_scopes("mcp root", role=Role.ADMIN, kind=TokenKind.PERSONAL) == {"mcp"}
