"""Whether the user behind a grant may still have what was granted. Asked whenever tokens are issued."""

from sqlalchemy.orm import Session

from gateway_proxy.domain.oauth_errors import (
    MembershipEnded,
)
from gateway_proxy.domain.principal import ROLE_SCOPES, Scope
from gateway_proxy.storage.sql.users import find_membership, find_user


def allowed_scope(session: Session, *, tenant_id: str, user_id: str, scope: str) -> str:
    """`scope` cut down to what the membership allows now, in its own order.

    Raises:
        MembershipEnded: The user is gone or disabled, is no member of the tenant, or may do nothing of it any more.
    """
    user = find_user(session, user_id=user_id)
    membership = find_membership(session, tenant_id=tenant_id, user_id=user_id)
    if user is None or user.disabled_at is not None or membership is None:
        raise MembershipEnded
    allowed = [name for name in scope.split() if name in ROLE_SCOPES[membership.role]]
    if not set(allowed) - {Scope.OFFLINE_ACCESS}:
        raise MembershipEnded
    return " ".join(allowed)
