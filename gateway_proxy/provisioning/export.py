"""The inverse of applying: what is stored, as a document that applies to the same state. Secrets become `${…}`.

Only what a configuration owns is exported (origin "operator"): a tenant administrator's own rows would change hands
when the file is applied again. Passwords cannot be exported, and a file without them leaves them as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.outside_keys import Apiman, StaticKey
from gateway_proxy.domain.provider import Provider
from gateway_proxy.provisioning.current_state import CurrentTenant, CurrentUser
from gateway_proxy.provisioning.variables import escaped

_SERVER_KEYS: Final = ("isolation", "timeout", "start_timeout", "encoding", "encoding_error_handler", "enabled")
_APIMAN_KEYS: Final = (
    "enabled", "gateway_url", "probe_api", "probe_path", "api_key_header", "cache_ttl", "timeout", "header",
)  # fmt: skip
_ASSISTANT_KEYS: Final = (
    "description", "system_prompt", "max_tool_iterations", "temperature", "top_p", "max_tokens", "extra_body",
    "options",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Export:
    """A document, and the values that its variables stand for: needed to apply it, never printed with it.

    The value is empty for a static key: only its digest is stored.
    """

    document: Mapping[str, Any]
    variables: Mapping[str, str] = field(repr=False)

    def as_yaml(self) -> str:
        """The document as text, headed by the variables that have to be set before it is applied."""
        head = ["# Set these before applying:", *(f"#   {name}" for name in self.variables)] if self.variables else []
        body = yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)
        return "\n".join([*head, body])


def export_state(tenants: Sequence[CurrentTenant], users: Sequence[CurrentUser]) -> Export:
    """The document for these tenants and people; memberships in other tenants are left out."""
    secrets = _Secrets()
    slugs = {entry.tenant.slug for entry in tenants}
    document: dict[str, Any] = {"tenants": {entry.tenant.slug: _tenant(entry, secrets) for entry in tenants}}
    people = [_user(user, slugs) for user in users if slugs & user.tenants.keys() or not user.tenants]
    if people:
        document["users"] = people
    return Export(document, secrets.values)


class _Secrets:
    """Names for secrets: a variable per value, called after the place where it stands."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def placeholder(self, value: str, *place: str) -> str:
        letters = "_".join(place).upper()
        stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in letters)
        name = stem = stem if stem[:1].isalpha() else f"_{stem}"
        number = 1
        while name in self.values:
            number += 1
            name = f"{stem}_{number}"
        self.values[name] = value
        return f"${{{name}}}"

    def placeholders(self, values: Mapping[str, str], *place: str) -> dict[str, str]:
        return {key: self.placeholder(value, *place, key) for key, value in sorted(values.items())}


def _tenant(entry: CurrentTenant, secrets: _Secrets) -> dict[str, Any]:
    slug = entry.tenant.slug
    document: dict[str, Any] = {"name": escaped(entry.tenant.name)}
    naming = entry.tenant.naming
    document["naming"] = {"prefix": naming.prefix, "separator": naming.separator}
    document["mcpServers"] = {
        backend.name: _server(backend, slug, secrets) for backend in entry.backends if backend.origin == "operator"
    }
    document["providers"] = {
        provider.name: _provider(provider, slug, secrets)
        for provider in entry.providers
        if provider.origin == "operator"
    }
    document["assistants"] = [_assistant(entry) for entry in entry.assistants if entry.origin == "operator"]
    document["proxy_api_keys"] = [_static_key(key, slug, secrets) for key in entry.static_keys]
    if entry.apiman is not None:
        document["apiman"] = _apiman(entry.apiman, slug, secrets)
    return {key: value for key, value in document.items() if value}


def _server(backend: Backend, slug: str, secrets: _Secrets) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if backend.transport not in (Transport.AUTO, Transport.STDIO):  # url and command say those themselves
        document["transport"] = backend.transport.value
    for key in ("command", "cwd", "url", "base_url"):
        value = getattr(backend, key)
        if value is not None:
            document[key] = escaped(value)
    if backend.args:
        document["args"] = [escaped(argument) for argument in backend.args]
    for key in ("env", "headers"):
        values = getattr(backend, key)
        if values:
            document[key] = secrets.placeholders(values, slug, backend.name, key)
    return document | _unusual(backend, _SERVER_KEYS, Backend)


def _provider(provider: Provider, slug: str, secrets: _Secrets) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": provider.kind, "base_url": escaped(provider.base_url)}
    if provider.api_key:
        document["api_key"] = secrets.placeholder(provider.api_key, slug, provider.name, "api_key")
    if provider.default_headers:
        document["default_headers"] = secrets.placeholders(provider.default_headers, slug, provider.name, "headers")
    return document | _unusual(provider, ("timeout",), Provider)


def _assistant(assistant: Assistant) -> dict[str, Any]:
    servers = "*" if assistant.mcp_servers is None else list(assistant.mcp_servers)
    document: dict[str, Any] = {
        "name": assistant.name,
        "provider": assistant.provider,
        "model": escaped(assistant.model),
        "mcp_servers": servers,
    }
    return document | _unusual(assistant, _ASSISTANT_KEYS, Assistant)


def _static_key(key: StaticKey, slug: str, secrets: _Secrets) -> dict[str, Any]:
    """Only its digest is stored: the variable has no value here, and whoever applies the file must know the key."""
    return {"name": escaped(key.name), "key": secrets.placeholder("", slug, "key", key.name)}


def _apiman(apiman: Apiman, slug: str, secrets: _Secrets) -> dict[str, Any]:
    document: dict[str, Any] = {"mode": apiman.mode} | _unusual(apiman, _APIMAN_KEYS, Apiman)
    if apiman.secret:
        document["secret"] = secrets.placeholder(apiman.secret, slug, "apiman", "secret")
    return document


def _user(user: CurrentUser, slugs: set[str]) -> dict[str, Any]:
    roles = {slug: role.value for slug, role in sorted(user.tenants.items()) if slug in slugs}
    return {"email": user.user.email, "name": escaped(user.user.name), "tenants": roles}


def _unusual(entry: Any, keys: Sequence[str], kind: type) -> dict[str, Any]:
    """The keys whose value is not the default: a short file is read more carefully than a complete one."""
    usual = {name: field.default for name, field in kind.__dataclass_fields__.items()}  # type: ignore[attr-defined]
    return {
        key: _escaped_tree(getattr(entry, key))
        for key in keys
        if getattr(entry, key) != usual[key] and getattr(entry, key) not in ({}, "")
    }


def _escaped_tree(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {key: _escaped_tree(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped_tree(entry) for entry in value]
    return value
