"""Keys that did not come from this gateway and open /v1 all the same: an operator's static keys, and Apiman's.

They belong to the tenant in whose configuration they stand. How one is checked does not stand here.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One key of `proxy_api_keys`, by its name. `digest` is keyed, because people choose such keys."""

    id: str
    tenant_id: str
    name: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Apiman:
    """How an Apiman gateway vouches for callers of /v1 (compatibility D14, D15). `cache_ttl`, `timeout` in seconds."""

    mode: Literal["gateway_probe", "trusted_header"]
    enabled: bool = True
    gateway_url: str | None = None
    probe_api: str | None = None
    probe_path: str = ""
    api_key_header: str = "X-API-Key"
    cache_ttl: float = 60.0
    timeout: float = 5.0
    header: str | None = None
    secret: str = field(default="", repr=False)

    @property
    def probe_url(self) -> str:
        """What is asked whether a key is good, in mode `gateway_probe`."""
        return "/".join(part for part in (self.gateway_url, self.probe_api, self.probe_path) if part)
