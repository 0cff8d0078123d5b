"""What an operator wants: the result of reading a configuration file of whatever shape. Values only, no reading.

Backends, providers and assistants are the domain's own nouns with empty `id` and `tenant_id` and revision 0: they
get a place when they are applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Naming, Role

DEFAULT_TENANT: Final = "default"


@dataclass(frozen=True, slots=True)
class DesiredTenant:
    """One tenant as it should be.

    `exhaustive` says that what is not listed is to go (a file); otherwise the lists are only added (environment
    aliases). `static_keys` are keys that open /v1, by name; `apiman` says who else vouches for such keys.
    """

    slug: str
    name: str | None = None
    naming: Naming = field(default_factory=Naming)
    backends: tuple[Backend, ...] = ()
    providers: tuple[Provider, ...] = ()
    assistants: tuple[Assistant, ...] = ()
    static_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    apiman: Apiman | None = None
    exhaustive: bool = True


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """One person as they should be. `password` None leaves it as it is; `tenants` maps slugs to roles."""

    email: str
    name: str | None = None
    password: str | None = field(default=None, repr=False)
    tenants: Mapping[str, Role] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything a configuration says, and notices about what in it has no effect."""

    tenants: tuple[DesiredTenant, ...] = ()
    users: tuple[DesiredUser, ...] = ()
    notices: tuple[str, ...] = ()

    def find_tenant(self, slug: str) -> DesiredTenant | None:
        """The tenant of that slug, when the configuration has it."""
        return next((tenant for tenant in self.tenants if tenant.slug == slug), None)
