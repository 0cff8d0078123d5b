"""Making the database match a desired state: one transaction per tenant, one for the people. Nothing is compared here.

Each transaction reads, compares and writes, so two replicas that start with one file end with one result; the second
finds nothing to do.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import AlreadyExists
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import Tenant, User
from gateway_proxy.provisioning.changes import Change, ChangeReport
from gateway_proxy.provisioning.current_state import CurrentUser, find_current_tenant, find_current_user
from gateway_proxy.provisioning.desired_state import DesiredState, DesiredTenant, DesiredUser
from gateway_proxy.provisioning.key_doors import check_key_doors, plan_key_doors, write_key_doors
from gateway_proxy.provisioning.plan import (
    TenantPlan,
    UserPlan,
    assistants_without_provider,
    count_backends_after,
    plan_tenant,
    plan_user,
)
from gateway_proxy.provisioning.problems import Problems, quotable
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import assistants, audit, backends, browser_sessions, providers, tenants, users
from gateway_proxy.storage.sql.database import Database

T = TypeVar("T")
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class _Passwords:
    """What was found out about passwords before the transaction: hashing is slow and may not happen inside one.

    By address: `seen` the stored hash that was looked at, `hashes` the new one; `fitting` are those that may stay.
    """

    seen: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    fitting: frozenset[str] = frozenset()


class _Overtaken(Exception):
    """Somebody changed a password between our look at it and our write: look again."""


async def apply(
    database: Database,
    keyring: Keyring,
    hasher: PasswordHasher,
    clock: Clock,
    desired: DesiredState,
    *,
    dry_run: bool = False,
) -> ChangeReport:
    """Make the stored tenants and people match, and say what that changed (or, with `dry_run`, would change).

    Raises:
        ConfigFileInvalid: The state does not fit what is stored (a member of a tenant that does not exist, a second
            server beside `prefix: none`). Nothing is written then.
        StorageUnavailable: The database is out of reach. Tenants that were done stay done; applying again goes on.
    """
    notices = await database.read(_check, desired=desired, keyring=keyring)
    changes: list[Change] = []
    for tenant in desired.tenants:
        if dry_run:
            changes += await database.read(_preview_tenant, desired=tenant, keyring=keyring)
        else:
            write = partial(database.run, _apply_tenant, desired=tenant, keyring=keyring, now=clock.now())
            changes += await _retried(write)
    if desired.users:
        apply_users = partial(_judge_and_apply_users, database, hasher, clock, desired, dry_run=dry_run)
        changes += await _retried(apply_users)
    return ChangeReport(tuple(changes), (*desired.notices, *notices))


def _check(session: Session, *, desired: DesiredState, keyring: Keyring) -> list[str]:
    problems = Problems()
    notices: list[str] = []
    for tenant in desired.tenants:
        current = find_current_tenant(session, slug=tenant.slug, keyring=keyring)
        naming = tenant.naming if tenant.exhaustive or current is None else current.tenant.naming
        notices += [
            f"the assistant {quotable(assistant.name)} of the tenant {tenant.slug} stays and names the provider "
            f"{quotable(assistant.provider)}, which is not there any more: chats with it fail until that is changed"
            for assistant in assistants_without_provider(tenant, current)
        ]
        count = count_backends_after(tenant, current)
        if naming.prefix == "none" and count > 1:
            problems.add(
                ("tenants", tenant.slug, "naming", "prefix"),
                f'"none" is for one server, and with those that the tenant added itself there would be {count}',
            )
    check_key_doors(session, desired=desired, keyring=keyring, problems=problems)
    listed = {tenant.slug for tenant in desired.tenants}
    for number, user in enumerate(desired.users):
        for slug in user.tenants:
            if slug not in listed and tenants.find_tenant_by_slug(session, slug=slug) is None:
                problems.add(("users", number, "tenants", slug), "no such tenant, neither here nor in the database")
    problems.raise_if_any()
    return notices


async def _judge_and_apply_users(
    database: Database, hasher: PasswordHasher, clock: Clock, desired: DesiredState, *, dry_run: bool
) -> tuple[Change, ...]:
    passwords = await _judge_passwords(database, hasher, desired, hashes=not dry_run)
    if dry_run:
        return await database.read(_preview_users, desired=desired, passwords=passwords)
    return await database.run(_apply_users, desired=desired, passwords=passwords, now=clock.now())


async def _judge_passwords(
    database: Database, hasher: PasswordHasher, desired: DesiredState, *, hashes: bool
) -> _Passwords:
    seen: dict[str, str | None] = {}
    made: dict[str, str] = {}
    fitting: set[str] = set()
    for user in desired.users:
        if user.password is None:
            continue
        current = await database.read(find_current_user, email=user.email)
        stored = seen[user.email] = None if current is None else current.password_hash
        if stored is not None and await hasher.verify(stored, user.password):
            fitting.add(user.email)
        elif hashes:
            made[user.email] = await hasher.hash(user.password)
    return _Passwords(seen, made, frozenset(fitting))


async def _retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Another replica may write the same between our look and our write; the next look finds it."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await attempt()
        except (AlreadyExists, _Overtaken):
            continue
    return await attempt()


# --- inside a transaction -------------------------------------------------------------------------------------------
def _preview_tenant(session: Session, *, desired: DesiredTenant, keyring: Keyring) -> tuple[Change, ...]:
    current = find_current_tenant(session, slug=desired.slug, keyring=keyring)
    return (*plan_tenant(desired, current).changes, *plan_key_doors(desired, current, KeyDigests(keyring)).changes)


def _apply_tenant(session: Session, *, desired: DesiredTenant, keyring: Keyring, now: datetime) -> tuple[Change, ...]:
    current = find_current_tenant(session, slug=desired.slug, keyring=keyring)
    plan = plan_tenant(desired, current)
    if current is None:
        assert plan.tenant is not None
        tenant = replace(plan.tenant, id=new_id())
        tenants.add_tenant(session, tenant=tenant, now=now)
    else:
        tenant = plan.tenant or current.tenant
        if plan.tenant is not None:
            tenants.update_tenant(session, tenant=tenant)
    _write_nouns(session, tenant, plan, keyring, now)
    doors = plan_key_doors(desired, current, KeyDigests(keyring))
    write_key_doors(session, tenant_id=tenant.id, plan=doors, keyring=keyring, now=now)
    changes = (*plan.changes, *doors.changes)
    _record(session, "config.applied", changes, tenant_id=tenant.id, user_id=None, now=now)
    return changes


def _write_nouns(session: Session, tenant: Tenant, plan: TenantPlan, keyring: Keyring, now: datetime) -> None:
    place: dict[str, Any] = {"tenant_id": tenant.id, "revision": 1}
    for name in plan.backends.removals:
        backends.remove_backend(session, tenant_id=tenant.id, name=name)
    for name in plan.providers.removals:
        providers.remove_provider(session, tenant_id=tenant.id, name=name)
    for name in plan.assistants.removals:
        assistants.remove_assistant(session, tenant_id=tenant.id, name=name)
    for backend in plan.backends.puts:
        placed = replace(backend, id=new_id(), **place)
        backends.put_backend(session, tenant_id=tenant.id, backend=placed, keyring=keyring, now=now)
    for provider in plan.providers.puts:
        placed_provider = replace(provider, id=new_id(), **place)
        providers.put_provider(session, tenant_id=tenant.id, provider=placed_provider, keyring=keyring, now=now)
    for assistant in plan.assistants.puts:
        placed_assistant = replace(assistant, id=new_id(), **place)
        assistants.put_assistant(session, tenant_id=tenant.id, assistant=placed_assistant, now=now)


def _preview_users(session: Session, *, desired: DesiredState, passwords: _Passwords) -> tuple[Change, ...]:
    changes: list[Change] = []
    for user in desired.users:
        plan = _plan_user(user, find_current_user(session, email=user.email), desired, passwords)
        changes += plan.changes
    return tuple(changes)


def _apply_users(
    session: Session, *, desired: DesiredState, passwords: _Passwords, now: datetime
) -> tuple[Change, ...]:
    changes: list[Change] = []
    for user in desired.users:
        current = find_current_user(session, email=user.email)
        plan = _plan_user(user, current, desired, passwords)
        user_id = _write_user(session, user, current, plan, passwords, now)
        _record(session, "config.applied", plan.changes, tenant_id=None, user_id=user_id, now=now)
        changes += plan.changes
    return tuple(changes)


def _plan_user(
    user: DesiredUser, current: CurrentUser | None, desired: DesiredState, passwords: _Passwords
) -> UserPlan:
    stored = None if current is None else current.password_hash
    if user.password is not None and stored != passwords.seen[user.email]:
        raise _Overtaken
    listed = {tenant.slug for tenant in desired.tenants}
    return plan_user(user, current, fits_password=user.email in passwords.fitting, listed_tenants=listed)


def _write_user(
    session: Session,
    desired: DesiredUser,
    current: CurrentUser | None,
    plan: UserPlan,
    passwords: _Passwords,
    now: datetime,
) -> str:
    password_hash = passwords.hashes.get(desired.email)
    if current is None:
        user = User(id=new_id(), email=desired.email, name=desired.name or desired.email.partition("@")[0])
        users.add_user(session, user=user, password_hash=password_hash, now=now)
    else:
        user = current.user
        if plan.name is not None:
            users.update_user(session, user=replace(user, name=plan.name))
        if plan.sets_password and password_hash is not None:
            users.set_password_hash(session, user_id=user.id, password_hash=password_hash)
            browser_sessions.revoke_browser_sessions(session, user_id=user.id, now=now)
    for slug, role in plan.puts:
        tenant = tenants.find_tenant_by_slug(session, slug=slug)
        if tenant is not None:
            users.put_membership(session, tenant_id=tenant.id, user_id=user.id, role=role, now=now)
    for slug in plan.removals:
        tenant = tenants.find_tenant_by_slug(session, slug=slug)
        if tenant is not None:
            users.remove_membership(session, tenant_id=tenant.id, user_id=user.id, now=now)
    return user.id


def _record(
    session: Session,
    event: str,
    changes: tuple[Change, ...],
    *,
    tenant_id: str | None,
    user_id: str | None,
    now: datetime,
) -> None:
    """One row per change in the audit trail, in the transaction of the change itself."""
    audit.add_audit_events(
        session,
        events=[
            AuditEvent(
                id=new_id(),
                tenant_id=tenant_id,
                user_id=user_id,
                event=event,
                at=now,
                request_id=None,
                detail={"action": change.action, "noun": change.noun, "name": change.name},
            )
            for change in changes
        ],
    )
