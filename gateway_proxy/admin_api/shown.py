"""Definitions as an administrator may see them. Credentials are write-only (security K3): none leaves by this door.

Paths, arguments and the like can hold keys as well. Whoever answers for a definition may see those: the operator
always, a tenant's administrators for what the tenant wrote.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Backend, Origin, Transport
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.provisioning.definitions import REDACTED

_PLAIN_PATHS: Final = ("", "/", "/v1")
_SECRET_NAMES: Final = re.compile(r"(?i)(key|token|secret|password|authorization|cookie|credentials?)$")


def shown(backend: Backend, ctx: TenantContext) -> dict[str, Any]:
    """An MCP server: values of environment and headers and the query of a URL are redacted for all."""
    is_own = answers_for(ctx, backend.origin)
    entry: dict[str, Any] = {"name": backend.name}
    if backend.transport is not Transport.AUTO:
        entry["transport"] = backend.transport.value
    if backend.command is not None:
        entry |= {
            "command": backend.command,
            "args": list(backend.args) if is_own else [REDACTED] * len(backend.args),
            "cwd": backend.cwd,
            "env": _hidden(backend.env),
            "start_timeout": backend.start_timeout,
            "encoding": backend.encoding,
            "encoding_error_handler": backend.encoding_error_handler,
        }
    if backend.url is not None:
        entry |= {"url": _shown_url(backend.url, with_path=is_own), "headers": _hidden(backend.headers)}
    if backend.base_url is not None:
        entry["base_url"] = _shown_url(backend.base_url, with_path=is_own)
    return entry | {
        "isolation": backend.isolation,
        "timeout": backend.timeout,
        "enabled": backend.enabled,
        "origin": backend.origin,
        "revision": backend.revision,
        **({"unreadable": True} if backend.unreadable else {}),
    }


def shown_provider(provider: Provider, ctx: TenantContext) -> dict[str, Any]:
    """An LLM API: its key and the values of its headers are redacted for all."""
    return {
        "name": provider.name,
        "kind": provider.kind,
        "base_url": _shown_url(provider.base_url, with_path=answers_for(ctx, provider.origin)),
        "api_key": REDACTED if provider.api_key else "",
        "default_headers": _hidden(provider.default_headers),
        "timeout": provider.timeout,
        "origin": provider.origin,
        "revision": provider.revision,
        **({"unreadable": True} if provider.unreadable else {}),
    }


def shown_assistant(assistant: Assistant) -> dict[str, Any]:
    """A virtual model. It has no credential of its own; what is called like one in `extra_body` is redacted."""
    return {
        "name": assistant.name,
        "provider": assistant.provider,
        "model": assistant.model,
        "description": assistant.description,
        "system_prompt": assistant.system_prompt,
        "mcp_servers": "*" if assistant.mcp_servers is None else list(assistant.mcp_servers),
        "max_tool_iterations": assistant.max_tool_iterations,
        "temperature": assistant.temperature,
        "top_p": assistant.top_p,
        "max_tokens": assistant.max_tokens,
        "extra_body": _without_secrets(assistant.extra_body),
        "options": dict(assistant.options),
        "origin": assistant.origin,
        "revision": assistant.revision,
    }


def shown_apiman(apiman: Apiman, ctx: TenantContext) -> dict[str, Any]:
    """How an Apiman gateway vouches for keys of /v1, which only the operator's configuration says."""
    is_own = answers_for(ctx, "operator")
    url = apiman.gateway_url
    return {
        "mode": apiman.mode,
        "enabled": apiman.enabled,
        "gateway_url": None if url is None else _shown_url(url, with_path=is_own),
        "probe_api": apiman.probe_api,
        "probe_path": apiman.probe_path if is_own or not apiman.probe_path else REDACTED,
        "api_key_header": apiman.api_key_header,
        "cache_ttl": apiman.cache_ttl,
        "timeout": apiman.timeout,
        "header": apiman.header,
        "secret": REDACTED if apiman.secret else "",
    }


def answers_for(ctx: TenantContext, origin: Origin) -> bool:
    """Whether the caller may see what else could hold a key: the operator always, others what the tenant wrote."""
    return ctx.principal.is_platform or origin == "tenant"


def _without_secrets(value: Any, *, is_secret: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_secrets(each, is_secret=is_secret or _SECRET_NAMES.search(name) is not None)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(each, is_secret=is_secret) for each in value]
    return REDACTED if is_secret and isinstance(value, str) else value


def _hidden(values: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(sorted(values), REDACTED)


def _shown_url(url: str, *, with_path: bool) -> str:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not with_path:
        return origin + parts.path if parts.path in _PLAIN_PATHS and not parts.query else f"{origin}/{REDACTED}"
    return f"{origin}{parts.path}?{REDACTED}" if parts.query else f"{origin}{parts.path}"
