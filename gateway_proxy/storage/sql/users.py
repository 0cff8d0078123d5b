"""Users and their memberships. A password hash leaves only through `find_password_hash`, for `authenticate()`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.tenant import Membership, Role, User
from gateway_proxy.storage.sql.failures import naming_duplicates
from gateway_proxy.storage.sql.revocation import revoke_user_tokens
from gateway_proxy.storage.sql.tables import memberships, tenants, users
from gateway_proxy.storage.sql.tenants import tenant_columns, tenant_of
from gateway_proxy.storage.sql.upsert import insert_for

_USER = (users.c.id, users.c.email, users.c.name, users.c.disabled_at)


def add_user(session: Session, *, user: User, password_hash: str | None, now: datetime) -> None:
    """Add a user; the address is kept in lower case. Without a hash nobody can sign in as this user.

    Raises:
        AlreadyExists: The e-mail address is taken.
    """
    with naming_duplicates("user", user.email.lower()):
        session.execute(
            insert(users).values(
                id=user.id,
                email=user.email.lower(),
                name=user.name,
                disabled_at=user.disabled_at,
                password_hash=password_hash,
                created_at=now,
            )
        )


def update_user(session: Session, *, user: User) -> None:
    """Change the address, the name and whether the user is disabled. A disabled user's tokens are refused at once.

    Raises:
        NotFound: No such user.
        AlreadyExists: The e-mail address is taken.
    """
    values = {"email": user.email.lower(), "name": user.name, "disabled_at": user.disabled_at}
    with naming_duplicates("user", user.email.lower()):
        changed = session.execute(update(users).where(users.c.id == user.id).values(**values).returning(users.c.id))
    if changed.first() is None:
        raise NotFound("user", user.email)


def find_user(session: Session, *, user_id: str) -> User | None:
    """Find a user by id, disabled or not."""
    return _find(session, users.c.id == user_id)


def find_user_by_email(session: Session, *, email: str) -> User | None:
    """Find a user by e-mail address in whatever case, disabled or not."""
    return _find(session, users.c.email == email.lower())


def find_password_hash(session: Session, *, email: str) -> tuple[User, str | None] | None:
    """Find a user and the hash to check a password against (None: this user has no password)."""
    statement = select(*_USER, users.c.password_hash).where(users.c.email == email.lower())
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else (user_of(row), row["password_hash"])


def set_password_hash(session: Session, *, user_id: str, password_hash: str | None) -> None:
    """Change a user's password. Ending the browser sessions is the caller's to ask for.

    Raises:
        NotFound: No such user.
    """
    statement = update(users).where(users.c.id == user_id).values(password_hash=password_hash)
    if session.execute(statement.returning(users.c.id)).first() is None:
        raise NotFound("user", user_id)


def list_users(session: Session) -> list[User]:
    """List every user, by e-mail address. For the operator only."""
    return [user_of(row) for row in session.execute(select(*_USER).order_by(users.c.email)).mappings()]


def list_members(session: Session, *, tenant_id: str) -> list[tuple[User, Role]]:
    """List the users of one tenant with their roles, by e-mail address."""
    statement = (
        select(*_USER, memberships.c.role)
        .join(memberships, memberships.c.user_id == users.c.id)
        .where(memberships.c.tenant_id == tenant_id)
        .order_by(users.c.email)
    )
    return [(user_of(row), Role(row["role"])) for row in session.execute(statement).mappings()]


def put_membership(session: Session, *, tenant_id: str, user_id: str, role: Role, now: datetime) -> None:
    """Make a user a member of a tenant, or change the role; scopes follow the role at once."""
    statement = insert_for(session, memberships).values(
        tenant_id=tenant_id, user_id=user_id, role=role.value, created_at=now
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[memberships.c.tenant_id, memberships.c.user_id], set_={"role": role.value}
        )
    )


def remove_membership(session: Session, *, tenant_id: str, user_id: str, now: datetime) -> bool:
    """Take a user out of a tenant and end every token of theirs there in the same breath (security T6).

    Without the second half, a user who is taken back would find the old tokens alive. False if there was none.
    """
    revoke_user_tokens(session, tenant_id=tenant_id, user_id=user_id, reason="membership_removed", now=now)
    statement = delete(memberships).where(memberships.c.tenant_id == tenant_id, memberships.c.user_id == user_id)
    return session.execute(statement.returning(memberships.c.user_id)).first() is not None


def list_memberships(session: Session, *, user_id: str) -> list[Membership]:
    """List where a user is a member, by the tenant's slug."""
    statement = _memberships().where(memberships.c.user_id == user_id).order_by(tenants.c.slug)
    return [_membership_of(row) for row in session.execute(statement).mappings()]


def find_membership(session: Session, *, tenant_id: str, user_id: str) -> Membership | None:
    """Find a user's membership in one tenant."""
    statement = _memberships().where(memberships.c.tenant_id == tenant_id, memberships.c.user_id == user_id)
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else _membership_of(row)


def user_of(row: Mapping[Any, Any]) -> User:
    """A user from a row of `users`."""
    return User(id=row["id"], email=row["email"], name=row["name"], disabled_at=row["disabled_at"])


def _find(session: Session, condition: ColumnElement[bool]) -> User | None:
    row = session.execute(select(*_USER).where(condition)).mappings().one_or_none()
    return None if row is None else user_of(row)


def _memberships() -> Select[Any]:
    return select(*tenant_columns(), memberships.c.user_id, memberships.c.role).join(
        tenants, tenants.c.id == memberships.c.tenant_id
    )


def _membership_of(row: Mapping[Any, Any]) -> Membership:
    return Membership(tenant=tenant_of(row), user_id=row["user_id"], role=Role(row["role"]))
