"""A backend as an administrator may see it. Credentials are write-only (security K3): they never leave by this door."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.provisioning.definitions import REDACTED


def shown(backend: Backend, ctx: TenantContext) -> dict[str, Any]:
    """The definition with its secrets redacted: values of environment and headers, and the query of a URL, for all.

    Arguments and paths can hold keys as well. Whoever answers for the definition may see those: the operator always,
    a tenant's administrators for what the tenant wrote.
    """
    is_own = ctx.principal.is_platform or backend.origin == "tenant"
    entry: dict[str, Any] = {"name": backend.name}
    if backend.transport is not Transport.AUTO:
        entry["transport"] = backend.transport.value
    if backend.command is not None:
        entry |= {
            "command": backend.command,
            "args": list(backend.args) if is_own else [REDACTED] * len(backend.args),
            "cwd": backend.cwd,
            "env": _hidden(backend.env),
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


def _hidden(values: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(sorted(values), REDACTED)


def _shown_url(url: str, *, with_path: bool) -> str:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not with_path:
        return origin if parts.path in ("", "/") and not parts.query else f"{origin}/{REDACTED}"
    return f"{origin}{parts.path}?{REDACTED}" if parts.query else f"{origin}{parts.path}"
