"""Shapes → the domain's nouns, with the rules that need more than one key. Every breach is a problem at its key path.

Rules that need to know what is stored already (a tenant that exists, a second server beside `prefix: none`) are
checked when the change is planned.
"""

import codecs
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from gateway_proxy.auth.passwords import MAXIMUM_BYTES, MINIMUM_BYTES
from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import Naming
from gateway_proxy.provisioning.desired_state import DesiredTenant, DesiredUser
from gateway_proxy.provisioning.json_limits import json_fault
from gateway_proxy.provisioning.problems import KeyPath, Problems, quotable, suggestion
from gateway_proxy.provisioning.shapes import (
    ApimanShape,
    AssistantShape,
    NamedKeyShape,
    ProviderShape,
    ServerShape,
    TenantShape,
    UserShape,
)
from gateway_proxy.provisioning.value_faults import assistant_name_fault, static_key_fault, url_fault

PUBLIC_APIS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
}
RESERVED_ASSISTANT: Final = "mcp-gateway"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PROBE_PATH: Final = re.compile(r"[\x21\x22\x24-\x3e\x40-\x7e]*\Z")
_NOT_FOR_KEYS: Final = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "cookie",
    "accept", "user-agent",
})  # fmt: skip
_ONLY_WITH_COMMAND: Final = ("args", "env", "cwd")


class Keys(NamedTuple):
    """What a shape of the file calls things that others call otherwise, so that problems name what was written."""

    servers: str = "mcpServers"
    providers: str = "providers"
    provider: str = "provider"


TODAYS_KEYS: Final = Keys()


class Rules:
    """The rules of one reading: what they refuse goes to `problems`; relative `cwd`s are taken from `folder`."""

    def __init__(self, problems: Problems, folder: Path, keys: Keys = TODAYS_KEYS) -> None:
        self._problems = problems
        self._folder = folder
        self._keys = keys

    def tenant(self, slug: str, shape: TenantShape, path: KeyPath) -> DesiredTenant:
        """One tenant with everything in it."""
        servers_key, providers_key = self._keys.servers, self._keys.providers
        servers_path = (*path, servers_key)
        backends = [self.backend(name, server, (*servers_path, name)) for name, server in shape.mcp_servers.items()]
        if shape.naming.prefix == "none" and len(backends) > 1:
            self._problems.add(
                (*path, "naming", "prefix"), f'"none" is for one server, and {len(backends)} stand under {servers_key}'
            )
        self._refuse_names_that_differ_in_case(shape.mcp_servers, servers_path)
        providers = [
            self.provider(name, entry, (*path, providers_key, name)) for name, entry in shape.providers.items()
        ]
        return DesiredTenant(
            slug=slug,
            name=shape.name,
            naming=Naming(shape.naming.prefix, shape.naming.separator),
            backends=tuple(backend for backend in backends if backend is not None),
            providers=tuple(provider for provider in providers if provider is not None),
            assistants=self._assistants(shape, path),
            static_keys=self.static_keys(shape.proxy_api_keys, (*path, "proxy_api_keys")),
            apiman=self.apiman(shape.apiman, (*path, "apiman")),
        )

    # --- servers ----------------------------------------------------------------------------------------------------
    def backend(self, name: str, shape: ServerShape, path: KeyPath) -> Backend | None:
        """One server; None when its transport cannot be told."""
        transport = self._transport(shape, path)
        if transport is None:
            return None
        self._check_server_keys(shape, transport, path)
        return Backend(
            id="",
            tenant_id="",
            name=name,
            transport=transport,
            origin="operator",
            revision=0,
            url=shape.url,
            base_url=shape.base_url,
            command=shape.command,
            args=tuple(shape.args),
            cwd=str(self._folder / Path(shape.cwd).expanduser()) if shape.cwd is not None else None,
            env=dict(shape.env),
            headers=dict(shape.headers),
            isolation=shape.isolation,
            timeout=shape.timeout,
            start_timeout=shape.start_timeout,
            encoding=shape.encoding,
            encoding_error_handler=shape.encoding_error_handler,
            enabled=shape.enabled and not shape.disabled,
        )

    def _transport(self, shape: ServerShape, path: KeyPath) -> Transport | None:
        if shape.transport and shape.type and shape.transport != shape.type:
            self._problems.add((*path, "type"), "says something else than transport; one of them is enough")
        written = shape.transport or shape.type
        if shape.command is not None and shape.url is not None:
            self._problems.add(path, "expected command or url, got both")
            return None
        if shape.command is None and shape.url is None:
            self._problems.add(path, "expected command (a program to start) or url (a server to reach), got neither")
            return None
        if written is None:
            return Transport.STDIO if shape.command is not None else Transport.AUTO
        transport = Transport.STREAMABLE_HTTP if written == "http" else Transport(written)
        if (transport is Transport.STDIO) != (shape.command is not None):
            self._problems.add(path, f"transport {written} needs {'command' if shape.url else 'url'}")
            return None
        return transport

    def _check_server_keys(self, shape: ServerShape, transport: Transport, path: KeyPath) -> None:
        if transport is Transport.STDIO:
            if shape.headers:
                self._problems.add((*path, "headers"), "only with url")
            self._check_environment(shape, path)
        else:
            for key in _ONLY_WITH_COMMAND:
                if getattr(shape, key):
                    self._problems.add((*path, key), "only with command")
            self._check_url(shape.url or "", (*path, "url"))
            self._check_headers(shape.headers, (*path, "headers"))

        if shape.base_url is not None:
            self._check_base_url(shape.base_url, transport, (*path, "base_url"))

    def _check_base_url(self, url: str, transport: Transport, path: KeyPath) -> None:
        if transport is not Transport.OPENAPI:
            self._problems.add(path, "only with transport openapi")
        elif "?" in url:
            self._problems.add(path, "expected no query; put credentials in headers")
        else:
            self._check_url(url, path)

    def _check_environment(self, shape: ServerShape, path: KeyPath) -> None:
        for name, value in shape.env.items():
            if not _ENV_NAME.match(name):
                self._problems.add((*path, "env", name), "expected a name of letters, digits and _")
            if "\0" in value:
                self._problems.add((*path, "env", name), "a NUL character cannot be passed on")
        if any("\0" in text for text in (shape.command or "", shape.cwd or "", *shape.args)):
            self._problems.add(path, "a NUL character cannot be passed on")
        try:
            codecs.lookup(shape.encoding)
        except (LookupError, ValueError):
            self._problems.add((*path, "encoding"), "expected the name of a text encoding, such as utf-8")

    def _refuse_names_that_differ_in_case(self, servers: Mapping[str, ServerShape], path: KeyPath) -> None:
        seen: dict[str, str] = {}
        for name in servers:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                self._problems.add((*path, name), f'differs from "{other}" only in case')

    # --- providers and assistants -----------------------------------------------------------------------------------
    def provider(self, name: str, shape: ProviderShape, path: KeyPath) -> Provider | None:
        """One LLM API."""
        base_url = shape.base_url if shape.base_url is not None else PUBLIC_APIS[shape.kind]
        self._check_url(base_url, (*path, "base_url"))
        self._check_headers(shape.default_headers, (*path, "default_headers"))
        if not _HEADER_VALUE.match(shape.api_key):
            self._problems.add((*path, "api_key"), "expected one line of printable characters")
        return Provider(
            id="",
            tenant_id="",
            name=name,
            kind=shape.kind,
            origin="operator",
            revision=0,
            base_url=base_url.rstrip("/"),
            api_key=shape.api_key.strip(),
            default_headers=dict(shape.default_headers),
            timeout=shape.timeout,
        )

    def _assistants(self, shape: TenantShape, path: KeyPath) -> tuple[Assistant, ...]:
        assistants: dict[str, Assistant] = {}
        for number, entry in enumerate(shape.assistants):
            here = (*path, "assistants", number)
            if entry.name in assistants:
                self._problems.add((*here, "name"), f'"{quotable(entry.name)}" stands here twice')
            assistants[entry.name] = self.assistant(entry, here)
            servers = [] if entry.mcp_servers == "*" else entry.mcp_servers
            check_references(
                entry.provider,
                servers,
                providers=shape.providers,
                servers=shape.mcp_servers,
                path=here,
                problems=self._problems,
                provider_key=self._keys.provider,
            )
        return tuple(assistants.values())

    def assistant(self, shape: AssistantShape, path: KeyPath) -> Assistant:
        """One virtual model. What it refers to is checked where that is known (`check_references`)."""
        if shape.name == RESERVED_ASSISTANT:
            self._problems.add((*path, "name"), f'"{RESERVED_ASSISTANT}" is the gateway\'s own model')
        fault = assistant_name_fault(shape.name)
        if fault is not None:
            self._problems.add((*path, "name"), fault)
        if not shape.model.isprintable():
            self._problems.add((*path, "model"), "expected printable characters")
        if shape.options.task_model is not None and not shape.options.task_model.isprintable():
            self._problems.add((*path, "options", "task_model"), "expected printable characters")
        fault = json_fault(shape.extra_body)
        if fault is not None:
            self._problems.add((*path, "extra_body"), fault)
        return _assistant(shape)

    # --- keys that we did not issue ---------------------------------------------------------------------------------
    def static_keys(self, shapes: list[NamedKeyShape], path: KeyPath) -> dict[str, str]:
        """Static keys of /v1, by name."""
        keys: dict[str, str] = {}
        for number, shape in enumerate(shapes):
            if shape.name in keys:
                self._problems.add((*path, number, "name"), "stands here twice")
            fault = static_key_fault(shape.key)
            if fault:
                self._problems.add((*path, number), fault)
            elif shape.key in keys.values():
                self._problems.add((*path, number), "the same key stands here twice")
            keys[shape.name] = shape.key
        return keys

    def apiman(self, shape: ApimanShape | None, path: KeyPath) -> Apiman | None:
        """The Apiman section; an incomplete one that is enabled is refused (compatibility D14)."""
        if shape is None:
            return None
        required = ("gateway_url", "probe_api") if shape.mode == "gateway_probe" else ("header", "secret")
        for key in required if shape.enabled else ():
            if not getattr(shape, key):
                self._problems.add((*path, key), f"required in mode {shape.mode}")
        self._check_apiman_values(shape, path)
        return Apiman(
            mode=shape.mode,
            enabled=shape.enabled,
            gateway_url=shape.gateway_url.rstrip("/") if shape.gateway_url else None,
            probe_api=shape.probe_api,
            probe_path=shape.probe_path.strip("/"),
            api_key_header=shape.api_key_header,
            cache_ttl=shape.cache_ttl,
            timeout=shape.timeout,
            header=shape.header,
            secret=shape.secret or "",
        )

    def _check_apiman_values(self, shape: ApimanShape, path: KeyPath) -> None:
        if shape.gateway_url:
            if "?" in shape.gateway_url:
                self._problems.add((*path, "gateway_url"), "expected no query")
            self._check_url(shape.gateway_url, (*path, "gateway_url"))
        if not _PROBE_PATH.match(shape.probe_path):
            self._problems.add((*path, "probe_path"), "expected a path of visible ASCII characters without ? and #")
        for key in ("header", "api_key_header"):
            name = getattr(shape, key)
            if name and (not _HEADER_NAME.match(name) or name.lower() in _NOT_FOR_KEYS):
                self._problems.add((*path, key), "expected the name of a header that is free for a key")
        if shape.secret and shape.mode == "trusted_header":
            fault = static_key_fault(shape.secret)
            if fault:
                self._problems.add((*path, "secret"), fault)

    # --- people -----------------------------------------------------------------------------------------------------
    def users(self, shapes: list[UserShape], path: KeyPath) -> tuple[DesiredUser, ...]:
        """The people; one entry each, whatever the case of the address."""
        users: dict[str, DesiredUser] = {}
        for number, shape in enumerate(shapes):
            email = shape.email.strip().lower()
            if email in users:
                self._problems.add((*path, number, "email"), f'"{quotable(email)}" stands here twice')
            if not email.isprintable():
                self._problems.add((*path, number, "email"), "expected printable characters")
            if shape.password is not None and not is_password_acceptable(shape.password):
                self._problems.add((*path, number, "password"), f"expected {MINIMUM_BYTES} to {MAXIMUM_BYTES} bytes")
            users[email] = DesiredUser(email, shape.name, shape.password, dict(shape.tenants))
        return tuple(users.values())

    # --- shared -----------------------------------------------------------------------------------------------------
    def _check_url(self, url: str, path: KeyPath) -> None:
        fault = url_fault(url)
        if fault:
            self._problems.add(path, fault)

    def _check_headers(self, headers: Mapping[str, str], path: KeyPath) -> None:
        seen: set[str] = set()
        for name, value in headers.items():
            if not _HEADER_NAME.match(name):
                self._problems.add((*path, name), "expected the name of a header")
            if not _HEADER_VALUE.match(value):
                self._problems.add((*path, name), "expected one line of printable characters")
            if name.lower() in seen:
                self._problems.add((*path, name), "stands here twice, in another case")
            seen.add(name.lower())


def check_references(
    provider: str,
    mcp_servers: Sequence[str],
    *,
    providers: Collection[str],
    servers: Collection[str],
    path: KeyPath,
    problems: Problems,
    provider_key: str = TODAYS_KEYS.provider,
) -> None:
    """Hold what an assistant refers to against what its tenant has."""
    if provider not in providers:
        problems.add(
            (*path, provider_key), f'no provider "{quotable(provider)}" here' + suggestion(provider, providers)
        )
    for number, server in enumerate(mcp_servers):
        if server not in servers:
            problems.add(
                (*path, "mcp_servers", number), f'no server "{quotable(server)}" here' + suggestion(server, servers)
            )


def is_password_acceptable(password: str) -> bool:
    """Whether a password has the length that can be hashed."""
    return MINIMUM_BYTES <= len(password.encode("utf-8", "surrogatepass")) <= MAXIMUM_BYTES


def _assistant(shape: AssistantShape) -> Assistant:
    servers: list[str] | Literal["*"] = shape.mcp_servers
    return Assistant(
        id="",
        tenant_id="",
        name=shape.name,
        provider=shape.provider,
        model=shape.model,
        revision=0,
        description=shape.description,
        system_prompt=shape.system_prompt,
        mcp_servers=None if servers == "*" else tuple(dict.fromkeys(servers)),
        max_tool_iterations=shape.max_tool_iterations,
        temperature=shape.temperature,
        top_p=shape.top_p,
        max_tokens=shape.max_tokens,
        extra_body=dict(shape.extra_body),
        options=msgspec.to_builtins(shape.options),
    )
