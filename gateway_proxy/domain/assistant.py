"""Assistants: virtual models offered under /v1/models."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_proxy.domain.backend import Origin


@dataclass(frozen=True, slots=True)
class Assistant:
    """A tenant's model + system prompt + backends. `mcp_servers` None means every backend of the tenant.

    `options` holds what else the configuration says (progress mode, task model, …), as plain JSON values.
    `origin` says who wrote it: a configuration file that is applied again takes back an operator's, never a tenant's.
    """

    id: str
    tenant_id: str
    name: str
    provider: str
    model: str
    revision: int
    description: str = ""
    system_prompt: str = ""
    mcp_servers: tuple[str, ...] | None = ()
    max_tool_iterations: int = 8
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = "operator"
