"""The keys of /v1 that a tenant's configuration brings (`proxy_api_keys`, `apiman`): compared, checked and written.

All of them are the operator's: no tenant administrator can add one. What a key may do is decided in `auth`.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.provisioning.changes import Change, differences
from gateway_proxy.provisioning.current_state import CurrentTenant
from gateway_proxy.provisioning.desired_state import DesiredState, DesiredTenant
from gateway_proxy.provisioning.problems import Problems, quotable
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import key_probes, static_keys

APIMAN = "apiman"


@dataclass(frozen=True, slots=True)
class KeyDoorPlan:
    """What to write for one tenant. `additions` maps names to digests; removals come first, so a key can be renamed."""

    removals: tuple[str, ...] = ()
    additions: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    apiman: Apiman | None = None
    removes_apiman: bool = False
    changes: tuple[Change, ...] = ()


def plan_key_doors(desired: DesiredTenant, current: CurrentTenant | None, digests: KeyDigests) -> KeyDoorPlan:
    """Compare one tenant's keys. One digested under an older secret key counts as changed."""
    stored = {} if current is None else {key.name: key.digest for key in current.static_keys}
    wanted = {name: digests.current(key) for name, key in desired.static_keys.items()}
    changed = tuple(name for name, digest in wanted.items() if name in stored and stored[name] != digest)
    dropped = tuple(name for name in stored if name not in wanted and desired.exhaustive)
    added = tuple(name for name in wanted if name not in stored)
    slug = desired.slug
    changes = [Change("add", "static key", name, slug) for name in added]
    changes += [Change("change", "static key", name, slug, ("key changed",)) for name in changed]
    changes += [Change("remove", "static key", name, slug) for name in dropped]
    apiman, removes_apiman, apiman_changes = _plan_apiman(desired, current)
    return KeyDoorPlan(
        (*changed, *dropped),
        tuple((name, wanted[name]) for name in (*changed, *added)),
        apiman,
        removes_apiman,
        (*changes, *apiman_changes),
    )


def check_key_doors(session: Session, *, desired: DesiredState, keyring: Keyring, problems: Problems) -> None:
    """A key says by itself whose it is, so it may open one tenant only."""
    digests = KeyDigests(keyring)
    owners = {key.digest: tenant.slug for key, tenant in static_keys.list_every_static_key(session)}
    for tenant in desired.tenants:
        for name, key in tenant.static_keys.items():
            found = [owners[digest] for digest in digests.all(key) if digest in owners]
            other = next((slug for slug in found if slug != tenant.slug), None)
            if other is not None:
                path = ("tenants", tenant.slug, "proxy_api_keys", quotable(name))
                problems.add(path, f"the same key opens the tenant {other}; a key belongs to one tenant")
            owners.setdefault(digests.current(key), tenant.slug)


def write_key_doors(session: Session, *, tenant_id: str, plan: KeyDoorPlan, keyring: Keyring, now: datetime) -> None:
    """Write what was planned.

    Raises:
        AlreadyExists: Another replica was first; look again.
    """
    for name in plan.removals:
        static_keys.remove_static_key(session, tenant_id=tenant_id, name=name)
    for name, digest in plan.additions:
        key = StaticKey(new_id(), tenant_id, name, digest)
        static_keys.add_static_key(session, tenant_id=tenant_id, key=key, now=now)
    if plan.apiman is not None:
        key_probes.put_key_probe(session, tenant_id=tenant_id, settings=plan.apiman, keyring=keyring, now=now)
    elif plan.removes_apiman:
        key_probes.remove_key_probe(session, tenant_id=tenant_id)


def _plan_apiman(
    desired: DesiredTenant, current: CurrentTenant | None
) -> tuple[Apiman | None, bool, tuple[Change, ...]]:
    old = None if current is None else current.apiman
    is_stored = old is not None or (current is not None and current.has_unreadable_apiman)
    if desired.apiman is None:
        removes = is_stored and desired.exhaustive
        return None, removes, (Change("remove", "apiman", APIMAN, desired.slug),) * removes
    if desired.apiman == old:
        return None, False, ()
    details = () if old is None else differences(old, desired.apiman)
    change = Change("change" if is_stored else "add", "apiman", APIMAN, desired.slug, details)
    return desired.apiman, False, (change,)
