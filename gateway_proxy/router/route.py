"""Where a name leads: a backend of this tenant and the tool's own name there."""

from dataclasses import dataclass

from gateway_proxy.domain.backend import Backend
from gateway_proxy.router.param_headers import ParamHeader


@dataclass(frozen=True, slots=True)
class Route:
    """Where `TenantContext + name` ends: `name` is what clients see, `upstream_name` what the backend knows.

    `param_headers` are the arguments of a tool that travel as headers, too (2026-07-28).
    """

    backend: Backend
    name: str
    upstream_name: str
    param_headers: tuple[ParamHeader, ...] = ()
