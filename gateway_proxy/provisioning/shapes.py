"""The shape of `gateway.yaml`, as Structs: types, limits and spelling only. What depends on two keys stands in `rules`.

The JSON Schema that ships with the package is made from these.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from gateway_proxy.domain.tenant import Role

SERVER_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9-]{0,30}$"
TENANT_SLUG: Final = "^[a-z0-9][a-z0-9-]{0,62}$"
PROVIDER_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ASSISTANT_NAME: Final = r"^[^\s/.?#%\\]([^?#%\\]{0,62}[^\s/?#%\\])?$"

ServerName = Annotated[str, msgspec.Meta(pattern=SERVER_NAME)]
TenantSlug = Annotated[str, msgspec.Meta(pattern=TENANT_SLUG)]
ProviderName = Annotated[str, msgspec.Meta(pattern=PROVIDER_NAME)]
AssistantName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": ASSISTANT_NAME})]
DisplayName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
ServerTimeout = Annotated[float, msgspec.Meta(gt=0, le=600, description="Seconds for one call.")]
StartTimeout = Annotated[float, msgspec.Meta(gt=0, le=600, description="Seconds for the start of a command.")]
ProviderTimeout = Annotated[float, msgspec.Meta(gt=0, le=3600, description="Seconds for one request.")]
ProbeTimeout = Annotated[float, msgspec.Meta(gt=0, le=60, description="Seconds for one probe.")]
CacheSeconds = Annotated[float, msgspec.Meta(ge=0, le=86400, description="Seconds for which a probe's outcome holds.")]
ProbeApi = Annotated[str, msgspec.Meta(pattern="^[^/ ?#]+/[^/ ?#]+/[^/ ?#]+$", description="{org}/{api}/{version}")]
TransportName = Literal["stdio", "sse", "streamable-http", "http", "openapi"]


class NamingShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the tenant's tools are listed: `<server><separator><tool>`, or untouched with one server and prefix none."""

    prefix: Literal["server", "none"] = "server"
    separator: Literal["__", "."] = "__"


class ServerShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MCP server or OpenAPI service, in the shape that desktop clients use. `command` or `url`, not both."""

    transport: TransportName | None = None
    type: TransportName | None = None
    command: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    base_url: str | None = None
    headers: dict[str, str] = {}
    isolation: Literal["tenant", "user", "session"] | None = None
    timeout: ServerTimeout = 300.0
    start_timeout: StartTimeout = 60.0
    encoding: str = "utf-8"
    encoding_error_handler: Literal["strict", "ignore", "replace"] = "strict"
    enabled: bool = True
    disabled: bool = False


class ProviderShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One LLM API. Without `base_url`, the public API of its kind."""

    kind: Literal["openai", "anthropic"] = "openai"
    base_url: str | None = None
    api_key: str = ""
    timeout: ProviderTimeout = 300.0
    default_headers: dict[str, str] = {}


class AssistantOptionsShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an assistant works, beside the parameters of its model. `task_model` serves Open WebUI's background tasks."""

    progress: Literal["none", "reasoning", "openwebui"] = "none"
    vision: bool = False
    strip_think: bool = False
    task_model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    max_calls_per_round: Annotated[int, msgspec.Meta(ge=1, le=128)] = 16
    max_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 540
    max_result_bytes: Annotated[int, msgspec.Meta(ge=1024, le=10_485_760)] = 262_144


class AssistantShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A virtual model under /v1/models: provider, model, system prompt, servers. `mcp_servers: "*"` is all of them."""

    name: AssistantName
    provider: str
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    system_prompt: Annotated[str, msgspec.Meta(max_length=200_000)] = ""
    mcp_servers: list[str] | Literal["*"] = []
    max_tool_iterations: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    extra_body: dict[str, Any] = {}
    options: AssistantOptionsShape = AssistantOptionsShape()


class NamedKeyShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A static key of /v1, with a name for the record; at least 16 characters."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    key: str


class ApimanShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of /v1 that an Apiman gateway vouches for: by being asked, or by a secret in a header that it adds."""

    enabled: bool = True
    mode: Literal["gateway_probe", "trusted_header"] = "gateway_probe"
    gateway_url: str | None = None
    probe_api: ProbeApi | None = None
    probe_path: str = ""
    api_key_header: str = "X-API-Key"
    cache_ttl: CacheSeconds = 60.0
    timeout: ProbeTimeout = 5.0
    header: str | None = None
    secret: str | None = None


class TenantShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant: a team with its servers, providers and assistants."""

    name: DisplayName | None = None
    naming: NamingShape = NamingShape()
    mcp_servers: dict[ServerName, ServerShape] = msgspec.field(name="mcpServers", default_factory=dict)
    providers: dict[ProviderName, ProviderShape] = {}
    assistants: list[AssistantShape] = []
    proxy_api_keys: list[NamedKeyShape] = []
    apiman: ApimanShape | None = None


class UserShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person and the tenants they belong to. `password` is set when the person is new or it changed."""

    email: Annotated[str, msgspec.Meta(pattern="^[^@ ]+@[^@ ]+$", max_length=254)]
    name: DisplayName | None = None
    password: str | None = None
    tenants: dict[TenantSlug, Role] = {}


class GatewayShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: tenants and users."""

    tenants: dict[TenantSlug, TenantShape] = {}
    users: list[UserShape] = []


class DesktopShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a desktop client: its servers go into the tenant `default`."""

    mcp_servers: dict[ServerName, ServerShape] = msgspec.field(name="mcpServers")
