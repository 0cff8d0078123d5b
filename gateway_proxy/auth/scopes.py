"""Which scopes a token really carries now. What a scope permits is decided by the surfaces."""

from gateway_proxy.domain.principal import ROLE_SCOPES, Scope, TokenKind
from gateway_proxy.domain.tenant import Role


def effective_scopes(granted: str, *, role: Role, kind: TokenKind) -> frozenset[str]:
    """Granted ∩ what the membership allows at this moment; `granted` is space separated (RFC 6749 §3.3).

    `admin` is dropped from every token that OAuth issued, even if a row says otherwise: only personal tokens carry it.
    """
    scopes = frozenset(granted.split()) & ROLE_SCOPES[role]
    return scopes if kind is TokenKind.PERSONAL else scopes - {Scope.ADMIN}
