"""Providers: the LLM APIs that a tenant's assistants use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway_proxy.domain.backend import Origin

ProviderKind = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Provider:
    """One LLM API of one tenant, with its key opened (sealed at rest). `timeout` is seconds for one request.

    `origin` says who wrote it (see `Backend`): a tenant's may not name a private address.
    `unreadable` says that it is sealed under a key that is not configured any more (see `Backend`).
    """

    id: str
    tenant_id: str
    name: str
    kind: ProviderKind
    origin: Origin
    revision: int
    base_url: str
    api_key: str = field(default="", repr=False)
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 300.0
    unreadable: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat: the key, what the headers hold, and what follows a scheme such as `Bearer`."""
        values = self.default_headers.values()
        return (self.api_key, *values, *(value.partition(" ")[2] for value in values))
