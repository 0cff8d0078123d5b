"""Principal → TenantContext (security T1, T5)."""

from datetime import UTC, datetime

import pytest

from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.tenant import Role, Tenant
from gateway_proxy.tenancy.resolver import resolve_tenant_context

ACME = Tenant(id="a" * 32, slug="acme", name="Acme")
OTHER = Tenant(id="b" * 32, slug="other", name="Other")
PRINCIPAL = Principal(
    token_id="t",
    token_digest=b"",
    kind=TokenKind.PERSONAL,
    tenant_id=ACME.id,
    user_id="u",
    role=Role.MEMBER,
    client_id=None,
    scopes=frozenset(),
    audience="https://gw.example",
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
)


def test_the_context_is_the_tenant_of_the_token() -> None:
    """Security T1."""
    context = resolve_tenant_context(PRINCIPAL, ACME)
    assert (context.tenant, context.principal) == (ACME, PRINCIPAL)


def test_a_tenant_that_is_not_the_tokens_stops_the_request() -> None:
    """Security T5: no default tenant, and no other one either."""
    with pytest.raises(RuntimeError):
        resolve_tenant_context(PRINCIPAL, OTHER)
