"""Where a name leads: a backend of this tenant and the tool's own name there."""

from dataclasses import dataclass

from gateway_proxy.domain.backend import Backend


@dataclass(frozen=True, slots=True)
class Route:
    """Where `TenantContext + name` ends: `name` is what clients see, `upstream_name` what the backend knows."""

    backend: Backend
    name: str
    upstream_name: str
