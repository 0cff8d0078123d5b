"""The configuration of the assistants proxy that this gateway replaces (compatibility D1), read into tenant `default`.

There, `backends` were the LLM APIs (now providers) and assistants named them `backend`. The shape is only read.
"""

from typing import Annotated, Any, Literal

import msgspec

from gateway_proxy.provisioning.problems import KeyPath, Problems
from gateway_proxy.provisioning.rules import Keys
from gateway_proxy.provisioning.shapes import (
    ApimanShape,
    AssistantName,
    AssistantShape,
    NamedKeyShape,
    ProviderName,
    ProviderShape,
    ServerName,
    ServerShape,
    TenantShape,
)

OLDER_KEYS = frozenset({"mcp_servers", "backends", "assistants", "proxy_api_keys", "apiman"})
OLDER_NAMES = Keys(servers="mcp_servers", providers="backends", provider="backend")


class OlderAssistantShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As AssistantShape, with `backend` for the provider."""

    name: AssistantName
    backend: str
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    system_prompt: Annotated[str, msgspec.Meta(max_length=200_000)] = ""
    mcp_servers: list[str] | Literal["*"] = []
    max_tool_iterations: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    extra_body: dict[str, Any] = {}


class OlderShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file of the assistants proxy."""

    mcp_servers: dict[ServerName, ServerShape] = {}
    backends: dict[ProviderName, ProviderShape] = {}
    assistants: list[OlderAssistantShape] = []
    proxy_api_keys: list[NamedKeyShape] = []
    apiman: ApimanShape | None = None

    def as_tenant(self) -> TenantShape:
        """The part that every shape has, in today's words."""
        assistants = []
        for older in self.assistants:
            fields = msgspec.structs.asdict(older)
            fields["provider"] = fields.pop("backend")
            assistants.append(AssistantShape(**fields))
        return TenantShape(
            mcp_servers=self.mcp_servers,
            providers=self.backends,
            assistants=assistants,
            proxy_api_keys=self.proxy_api_keys,
            apiman=self.apiman,
        )


def normalised(document: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """Both ways of writing a collection → one: named entries as a list or a mapping, keys as text or with a name."""
    result = dict(document)
    for key in ("mcp_servers", "backends"):
        if isinstance(result.get(key), list):
            result[key] = _by_name(result[key], (key,), problems)
    if isinstance(result.get("assistants"), dict):
        result["assistants"] = [
            {"name": name, **entry} if isinstance(entry, dict) else entry
            for name, entry in result["assistants"].items()
        ]
    return with_named_keys(result)


def with_named_keys(document: dict[str, Any]) -> dict[str, Any]:
    """`proxy_api_keys` may hold bare keys; they are called after their place."""
    if not isinstance(document.get("proxy_api_keys"), list):
        return document
    named = [
        {"name": f"key-{number}", "key": entry} if isinstance(entry, str) else entry
        for number, entry in enumerate(document["proxy_api_keys"], start=1)
    ]
    return {**document, "proxy_api_keys": named}


def _by_name(entries: list[Any], path: KeyPath, problems: Problems) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            problems.add((*path, number), "expected a mapping with a name")
        elif entry["name"] in named:
            problems.add((*path, number, "name"), "stands here twice")
        else:
            named[entry["name"]] = {key: value for key, value in entry.items() if key != "name"}
    return named
