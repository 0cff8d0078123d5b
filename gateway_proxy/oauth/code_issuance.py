"""Recording a consent and issuing the authorization code that it stands for, in one transaction (RFC 6749 §4.1.2).

Called once the user has agreed, or an earlier agreement covers the request; whether one of the two is so is decided in
`authorize`.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    AlreadyExists,
)
from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.oauth import AuthorizationCode, Client, Grant, TokenFamily
from gateway_proxy.domain.oauth_errors import (
    ClientUnknown,
    ConsentSpent,
    ConsentStale,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.authorization_request import AuthorizationRequest
from gateway_proxy.oauth.members import allowed_scope
from gateway_proxy.oauth.redirect_uris import redirect_host
from gateway_proxy.oauth.vocabulary import OAuthConfig
from gateway_proxy.storage.sql.clients import keep_client, put_client
from gateway_proxy.storage.sql.codes import add_code
from gateway_proxy.storage.sql.grants import add_grant, find_covering_grant, lock_grant
from gateway_proxy.storage.sql.tokens import add_family
from gateway_proxy.storage.sql.users import list_memberships


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agreed to what, where. `transaction_id` is good for one code.

    `is_on_record` says that nobody was asked now, because an earlier consent covers the request.
    """

    authorization: AuthorizationRequest
    user_id: str
    tenant_id: str
    transaction_id: str
    is_on_record: bool = False


def issue_code(session: Session, *, tenant_id: str, consent: Consent, config: OAuthConfig, clock: Clock) -> str:
    """Record the consent (unless one on record covers it) and add a code; returns the code's secret.

    Raises:
        MembershipEnded: The user is no member of the tenant.
        ClientUnknown: The client's registration expired in the meantime.
        ConsentSpent: This consent gave a code before.
        ConsentStale: The consent on record was taken back in the meantime.
    """
    now, request = clock.now(), consent.authorization
    scope = allowed_scope(session, tenant_id=tenant_id, user_id=consent.user_id, scope=" ".join(request.scope))
    _keep_client(session, client=request.client, clock=clock)
    grant = _record_grant(session, tenant_id=tenant_id, consent=consent, scope=scope, clock=clock)
    family = TokenFamily(
        id=new_id(),
        tenant_id=tenant_id,
        user_id=consent.user_id,
        client_id=request.client.id,
        grant_id=grant.id,
        scope=scope,
        resource=request.resource,
        generation=0,
        created_at=now,
        revoked_at=None,
    )
    add_family(session, family=family)
    secret = new_secret("gw_ac_")
    code = AuthorizationCode(
        id=new_id(),
        family_id=family.id,
        tenant_id=tenant_id,
        user_id=consent.user_id,
        client_id=request.client.id,
        redirect_uri=request.redirect_uri if request.is_redirect_uri_sent else "",
        scope=scope,
        resource=request.resource,
        code_challenge=request.code_challenge,
        issued_at=now,
        expires_at=now + timedelta(seconds=config.code_ttl),
        used_at=None,
    )
    try:
        add_code(session, code=code, digest=digest_of(secret), transaction_id=consent.transaction_id)
    except AlreadyExists:
        raise ConsentSpent from None
    return secret


def list_covered_tenants(session: Session, *, user_id: str, authorization: AuthorizationRequest) -> list[str]:
    """The tenants of the user in which a consent on record covers this request (same client, redirect host, scopes)."""
    return [
        membership.tenant.id
        for membership in list_memberships(session, user_id=user_id)
        if find_covering_grant(
            session,
            tenant_id=membership.tenant.id,
            user_id=user_id,
            client_id=authorization.client.id,
            redirect_host=redirect_host(authorization.redirect_uri),
            scope=frozenset(authorization.scope),
        )
        is not None
    ]


def _keep_client(session: Session, *, client: Client, clock: Clock) -> None:
    """A registration that is agreed to does not expire; of a document client the latest metadata is stored."""
    if client.kind == "metadata_document":
        put_client(session, client=client)
        return
    if not keep_client(session, client_id=client.id, now=clock.now()):
        raise ClientUnknown


def _record_grant(session: Session, *, tenant_id: str, consent: Consent, scope: str, clock: Clock) -> Grant:
    request = consent.authorization
    host = redirect_host(request.redirect_uri)
    covering = find_covering_grant(
        session,
        tenant_id=tenant_id,
        user_id=consent.user_id,
        client_id=request.client.id,
        redirect_host=host,
        scope=frozenset(scope.split()),
    )
    if covering is not None and lock_grant(session, tenant_id=tenant_id, grant_id=covering.id) is not None:
        return covering
    if consent.is_on_record:
        raise ConsentStale
    grant = Grant(
        id=new_id(),
        tenant_id=tenant_id,
        user_id=consent.user_id,
        client_id=request.client.id,
        redirect_host=host,
        scope=" ".join(sorted(scope.split())),
        created_at=clock.now(),
        revoked_at=None,
    )
    add_grant(session, grant=grant)
    return grant
