"""What stands in front of the protected surfaces. Every protected route is made reachable here and nowhere else."""

from dataclasses import dataclass
from typing import Literal

from starlette.routing import Route
from starlette.types import ASGIApp

from gateway_proxy.auth.middleware import Challenge, ErrorBody, RequireScope, Verifier
from gateway_proxy.auth.platform_key import AdmitPlatformKey, FindTenant
from gateway_proxy.domain.principal import Scope
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.services import Services
from gateway_proxy.storage.sql.tenants import find_tenant_by_slug
from gateway_proxy.tenancy.middleware import ResolveTenant


@dataclass(frozen=True)
class Door:
    """The scope that a surface asks for, and how a refusal is said there.

    `platform_key` says whether the operator's key opens it too (security RS4: the admin surface only): for what acts in
    one tenant the request then names it, for a page about the whole process it does not. `takes_outside_keys` says
    whether keys that we did not issue open it too (compatibility D13: /v1 only).
    """

    scope: Scope
    error_body: ErrorBody
    resource_metadata: str | None = None
    alternates: tuple[bytes, ...] = ()
    platform_key: Literal["in a tenant", "without a tenant"] | None = None
    takes_outside_keys: bool = False

    def before(self, app: ASGIApp, services: Services) -> ASGIApp:
        """`app`, reachable only with a token that carries the scope."""
        in_tenant = ResolveTenant(app)
        guarded = RequireScope(
            in_tenant,
            self.verifier(services),
            self.scope,
            Challenge(self.scope.value, self.resource_metadata),
            self.error_body,
            alternates=self.alternates,
        )
        key = services.core.settings.admin_api_key
        if key is None or self.platform_key is None:
            return guarded
        needs_tenant = self.platform_key == "in a tenant"
        return AdmitPlatformKey(
            in_tenant if needs_tenant else app,
            guarded,
            key=key,
            find_tenant=_tenant_finder(services) if needs_tenant else None,
            error_body=self.error_body,
        )

    def verifier(self, services: Services) -> Verifier:
        """Who finds out who sent a request to this door."""
        return services.key_chain if self.takes_outside_keys else services.verifier

    def guarded(self, route: Route, services: Services) -> Route:
        """`route` behind this door."""
        guarded = Route(route.path, self.before(route.app, services), methods=None)
        guarded.methods = route.methods
        return guarded


def _tenant_finder(services: Services) -> FindTenant:
    async def find_tenant(slug: str) -> Tenant | None:
        return await services.core.database.read(find_tenant_by_slug, slug=slug)

    return find_tenant
