"""Desired against current: what has to be written for one tenant and for one person. Pure comparison, no I/O.

A configuration owns the rows of origin "operator" in the tenants that it lists. Rows that a tenant's own administrator
wrote stay, unless the configuration has the same name: then it takes the row over.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Role, Tenant
from gateway_proxy.provisioning.changes import Action, Change, Noun, differences
from gateway_proxy.provisioning.current_state import CurrentTenant, CurrentUser
from gateway_proxy.provisioning.desired_state import DesiredTenant, DesiredUser

N = TypeVar("N", Backend, Provider, Assistant)


@dataclass(frozen=True, slots=True)
class NounPlan(Generic[N]):
    """What to put and what to remove of one noun in one tenant."""

    puts: tuple[N, ...] = ()
    removals: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What to write for one tenant. `tenant` is None when its own row stays as it is."""

    tenant: Tenant | None
    is_new: bool
    backends: NounPlan[Backend]
    providers: NounPlan[Provider]
    assistants: NounPlan[Assistant]
    tenant_changes: tuple[Change, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of it, in the order in which it is told."""
        return (*self.tenant_changes, *self.backends.changes, *self.providers.changes, *self.assistants.changes)


@dataclass(frozen=True, slots=True)
class UserPlan:
    """What to write for one person. `name` None and `sets_password` False leave those alone."""

    name: str | None
    sets_password: bool
    puts: tuple[tuple[str, Role], ...]
    removals: tuple[str, ...]
    changes: tuple[Change, ...]


def plan_tenant(desired: DesiredTenant, current: CurrentTenant | None) -> TenantPlan:
    """Compare one tenant. The nouns to put have no place yet (empty `id` and `tenant_id`)."""
    slug = desired.slug
    tenant, changes = _plan_tenant_row(desired, current)
    owned = current or CurrentTenant(Tenant("", slug, slug))
    exhaustive = desired.exhaustive
    return TenantPlan(
        tenant,
        current is None,
        _plan_noun("backend", slug, desired.backends, owned.backends, exhaustive=exhaustive),
        _plan_noun("provider", slug, desired.providers, owned.providers, exhaustive=exhaustive),
        _plan_noun("assistant", slug, desired.assistants, owned.assistants, exhaustive=exhaustive),
        changes,
    )


def count_backends_after(desired: DesiredTenant, current: CurrentTenant | None) -> int:
    """How many servers the tenant has once `desired` is applied: those of its administrators stay."""
    stored = () if current is None else current.backends
    staying = {backend.name for backend in stored if not desired.exhaustive or backend.origin != "operator"}
    return len(staying | {backend.name for backend in desired.backends})


def assistants_without_provider(desired: DesiredTenant, current: CurrentTenant | None) -> list[Assistant]:
    """What the tenant's administrators made and `desired` leaves without a provider: the file is not theirs to know."""
    if current is None or not desired.exhaustive:
        return []
    providers = {provider.name for provider in desired.providers}
    providers |= {provider.name for provider in current.providers if provider.origin != "operator"}
    replaced = {assistant.name for assistant in desired.assistants}
    return [
        assistant
        for assistant in current.assistants
        if assistant.origin != "operator" and assistant.name not in replaced and assistant.provider not in providers
    ]


def plan_user(
    desired: DesiredUser, current: CurrentUser | None, *, fits_password: bool, listed_tenants: Collection[str]
) -> UserPlan:
    """Compare one person. Memberships in tenants that the configuration does not list are left alone.

    `fits_password` says whether the stored hash is already that of the desired password.
    """
    roles = {} if current is None else current.tenants
    puts = tuple((slug, role) for slug, role in desired.tenants.items() if roles.get(slug) != role)
    removals = tuple(slug for slug in roles if slug not in desired.tenants and slug in listed_tenants)
    sets_password = desired.password is not None and not fits_password
    renames = current is not None and desired.name is not None and desired.name != current.user.name
    details = ("name changed",) * renames + (f"password {'set' if current is None else 'changed'}",) * sets_password
    changes = []
    if current is None or details:
        changes.append(Change("add" if current is None else "change", "user", desired.email, details=details))
    for slug, role in puts:
        action: Action = "change" if slug in roles else "add"
        detail = f"role {roles[slug]} → {role}" if slug in roles else f"role {role}"
        changes.append(Change(action, "membership", desired.email, slug, (detail,)))
    changes += [Change("remove", "membership", desired.email, slug) for slug in removals]
    name = desired.name if renames else None
    return UserPlan(name, sets_password, puts, removals, tuple(changes))


def _plan_tenant_row(desired: DesiredTenant, current: CurrentTenant | None) -> tuple[Tenant | None, tuple[Change, ...]]:
    """Only a file says what a tenant is called and how it names; what merely adds to it leaves that alone."""
    if current is None:
        tenant = Tenant("", desired.slug, desired.name or desired.slug.replace("-", " ").title(), desired.naming)
        return tenant, (Change("add", "tenant", desired.slug, desired.slug),)
    if not desired.exhaustive:
        return None, ()
    tenant = replace(current.tenant, name=desired.name or current.tenant.name, naming=desired.naming)
    if tenant == current.tenant:
        return None, ()
    details = differences(current.tenant.naming, tenant.naming)
    if tenant.name != current.tenant.name:
        details = ("name changed", *details)
    return tenant, (Change("change", "tenant", desired.slug, desired.slug, details),)


def _plan_noun(noun: Noun, slug: str, desired: Sequence[N], current: Sequence[N], *, exhaustive: bool) -> NounPlan[N]:
    stored = {entry.name: entry for entry in current}
    puts: list[N] = []
    changes: list[Change] = []
    for entry in desired:
        old = stored.pop(entry.name, None)
        if old is not None and _unplaced(old) == entry:
            continue
        puts.append(entry)
        details = () if old is None else differences(_unplaced(old), entry)
        changes.append(Change("add" if old is None else "change", noun, entry.name, slug, details))
    removals = tuple(name for name, entry in stored.items() if exhaustive and entry.origin == "operator")
    changes += [Change("remove", noun, name, slug) for name in removals]
    return NounPlan(tuple(puts), removals, tuple(changes))


def _unplaced(entry: N) -> N:
    return replace(entry, id="", tenant_id="", revision=0)
