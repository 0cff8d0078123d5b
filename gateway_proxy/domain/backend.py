"""Backends: the MCP servers and OpenAPI services of a tenant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Transport(StrEnum):
    """How a backend is reached. AUTO is a bare `url`: streamable HTTP, then SSE when that answers 404 or 405."""

    STDIO = "stdio"
    SSE = "sse"
    STREAMABLE_HTTP = "streamable-http"
    OPENAPI = "openapi"
    AUTO = "auto"


Isolation = Literal["tenant", "user", "session"]
Origin = Literal["operator", "platform", "tenant"]
"""Who wrote a definition: the configuration (file, environment, command line), the platform key, or the tenant."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One MCP server of one tenant, with its credentials opened (`env` and `headers` are sealed at rest).

    `origin` says who wrote it: the operator's definitions (configuration or platform key) may name a command or a
    private address, a tenant's may not; only those of the configuration go when they are no longer in it.
    `revision` changes with every edit; whatever is cached or running for an older one is stale.
    `base_url` says where the operations of an OpenAPI document are, when its own servers are not to be followed.
    `timeout` is seconds for one call, `start_timeout` for the start of a program, what it downloads first included.
    `isolation` None means the default of the transport (see router).
    `unreadable` says that it is sealed under a key that is not configured any more: what was sealed is empty, and it
    cannot be used until it is written anew.
    """

    id: str
    tenant_id: str
    name: str
    transport: Transport
    origin: Origin
    revision: int
    url: str | None = None
    base_url: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    isolation: Isolation | None = None
    timeout: float = 300.0
    start_timeout: float = 60.0
    encoding: str = "utf-8"
    encoding_error_handler: Literal["strict", "ignore", "replace"] = "strict"
    enabled: bool = True
    unreadable: bool = False
