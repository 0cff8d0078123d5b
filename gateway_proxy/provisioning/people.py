"""People and their tokens, as the operator adds them one by one. Files with many of them go through `apply`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Membership, Role, Tenant, User
from gateway_proxy.storage.sql import audit, browser_sessions, personal_tokens, tenants, users


@dataclass(frozen=True, slots=True)
class MemberAdded:
    """What adding somebody did. `role_before` None means that they were no member."""

    user: User
    is_new: bool
    role_before: Role | None


def get_tenant(session: Session, *, slug: str) -> Tenant:
    """The tenant of that slug.

    Raises:
        NotFound: There is none.
    """
    tenant = tenants.find_tenant_by_slug(session, slug=slug)
    if tenant is None:
        raise NotFound("tenant", slug)
    return tenant


def get_member(session: Session, *, slug: str, email: str) -> tuple[User, Membership]:
    """Somebody in a tenant.

    Raises:
        NotFound: No such tenant, no such user, or the user is no member of it.
    """
    tenant = get_tenant(session, slug=slug)
    user = users.find_user_by_email(session, email=email)
    if user is None:
        raise NotFound("user", email.lower())
    membership = users.find_membership(session, tenant_id=tenant.id, user_id=user.id)
    if membership is None:
        raise NotFound("member", f"{email.lower()} in tenant {slug}")
    return user, membership


def add_member(
    session: Session, *, slug: str, email: str, role: Role, password_hash: str | None, now: datetime
) -> MemberAdded:
    """Make somebody a member of a tenant, as a new user if need be.

    `password_hash` None leaves the password as it is. A new password ends the user's browser sessions.

    Raises:
        NotFound: No such tenant.
    """
    tenant = get_tenant(session, slug=slug)
    user = users.find_user_by_email(session, email=email)
    is_new = user is None
    if user is None:
        user = User(id=new_id(), email=email.lower(), name=email.partition("@")[0])
        users.add_user(session, user=user, password_hash=password_hash, now=now)
    elif password_hash is not None:
        users.set_password_hash(session, user_id=user.id, password_hash=password_hash)
        browser_sessions.revoke_browser_sessions(session, user_id=user.id, now=now)
    before = users.find_membership(session, tenant_id=tenant.id, user_id=user.id)
    users.put_membership(session, tenant_id=tenant.id, user_id=user.id, role=role, now=now)
    event = "user.added" if is_new else "membership.changed"
    _record(session, event, tenant_id=tenant.id, user_id=user.id, now=now, role=role.value)
    if password_hash is not None and not is_new:
        _record(session, "password.changed", tenant_id=tenant.id, user_id=user.id, now=now)
    return MemberAdded(user, is_new, None if before is None else before.role)


def add_token(session: Session, *, member: Membership, scope: str, name: str, ttl: timedelta, now: datetime) -> str:
    """Make a personal access token for a member; returns the secret, which is kept nowhere."""
    secret = new_secret("gw_pat_")
    token = PersonalToken(
        id=new_id(),
        tenant_id=member.tenant.id,
        user_id=member.user_id,
        name=name,
        scope=scope,
        created_at=now,
        expires_at=now + ttl,
        last_used_at=None,
        revoked_at=None,
    )
    personal_tokens.add_personal_token(session, tenant_id=token.tenant_id, digest=digest_of(secret), token=token)
    _record(
        session,
        "personal_token.created",
        tenant_id=token.tenant_id,
        user_id=token.user_id,
        now=now,
        token_id=token.id,
        scope=scope,
    )
    return secret


def revoke_token(session: Session, *, tenant: Tenant, token_id: str, now: datetime) -> None:
    """End a personal access token.

    Raises:
        NotFound: No living token of that id in this tenant.
    """
    if not personal_tokens.revoke_personal_token(session, tenant_id=tenant.id, token_id=token_id, now=now):
        raise NotFound("token", token_id)
    _record(session, "personal_token.revoked", tenant_id=tenant.id, user_id=None, now=now, token_id=token_id)


def _record(session: Session, event: str, *, tenant_id: str, user_id: str | None, now: datetime, **detail: str) -> None:
    detail |= {"by": "operator"}
    entry = AuditEvent(new_id(), tenant_id, user_id, event, now, None, detail)
    audit.add_audit_events(session, events=[entry])
