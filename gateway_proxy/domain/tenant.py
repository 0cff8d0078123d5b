"""Tenants, their members, and the context in which every call is made."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from gateway_proxy.domain.principal import Principal
from gateway_proxy.domain.role import Role as Role


@dataclass(frozen=True, slots=True)
class Naming:
    """How a tenant's tools are listed: `<server><separator><tool>`, or the tool's own name with `prefix="none"`."""

    prefix: Literal["server", "none"] = "server"
    separator: Literal["__", "."] = "__"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A team: the owner of backends, providers and assistants. `slug` is the key in the configuration file."""

    id: str
    slug: str
    name: str
    naming: Naming = field(default_factory=Naming)


@dataclass(frozen=True, slots=True)
class User:
    """A person who can sign in. `email` is stored lower-cased; the password hash never leaves storage with it."""

    id: str
    email: str
    name: str
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's place in a tenant."""

    tenant: Tenant
    user_id: str
    role: Role


class TenantContext(NamedTuple):
    """The tenant a verified caller acts in: the only way into the router. Built by `tenancy`, nowhere else."""

    tenant: Tenant
    principal: Principal
