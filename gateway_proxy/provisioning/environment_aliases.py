"""What the older systems' environment names define, as a desired state of the tenant `default` (compatibility A, D).

Without a file that has this tenant they only add: nothing is removed because a variable is absent. Names that are
settings (`PORT`, `LOG_LEVEL`, …) are translated where the settings are read, not here. The environment is passed in.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.domain.provider import Provider, ProviderKind
from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT, DesiredState, DesiredTenant
from gateway_proxy.provisioning.rules import PUBLIC_APIS
from gateway_proxy.provisioning.value_faults import static_key_fault, url_fault

ENDPOINT_NAMES: Final = ("MCP_SERVER_ENDPOINTS", "MCP_SERVERS")
APIMAN_NAMES: Final[Mapping[str, str]] = {"gateway_url": "APIMAN_GATEWAY_URL", "secret": "APIMAN_SHARED_SECRET"}
_LONGEST_NAME: Final = 31
_Section = Literal["backends", "providers", "static_keys"]
_IN_A_FILE: Final[Mapping[_Section, str]] = {
    "backends": "servers; write {transport: openapi, url: …/openapi.json} there",
    "providers": "providers; write it there",
    "static_keys": 'proxy_api_keys; write "${PROXY_API_KEY}" there',
}


class _Notice(NamedTuple):
    """That a name was used, and for what part of the tenant; None for one that defines nothing by itself."""

    text: str
    section: _Section | None


def desired_state_from_environment(environ: Mapping[str, str]) -> tuple[DesiredState, list[str]]:
    """What the older names define, and one notice for each name that was used.

    Raises:
        SettingsInvalid: A value cannot be used; names the variable, never its value.
    """
    tenant, notices = _read(environ)
    defines = tenant.backends or tenant.providers or tenant.static_keys
    return DesiredState(tenants=(tenant,) if defines else ()), [notice.text for notice in notices]


def with_environment(file: DesiredState, environ: Mapping[str, str]) -> tuple[DesiredState, list[str]]:
    """A file's state whose tenant `default` has from older names what it has none of: servers, providers or keys.

    A notice says of each name that was used what it defines, or what to write into the file instead.

    Raises:
        SettingsInvalid: As for `desired_state_from_environment`.
    """
    tenant = file.find_tenant(DEFAULT_TENANT)
    if tenant is None:
        return file, []
    aliases, notices = _read(environ)
    completed = replace(
        tenant,
        backends=tenant.backends or aliases.backends,
        providers=tenant.providers or aliases.providers,
        static_keys=tenant.static_keys or aliases.static_keys,
    )
    tenants = tuple(completed if other is tenant else other for other in file.tenants)
    return replace(file, tenants=tenants), [_text_beside(tenant, notice) for notice in notices]


def _text_beside(tenant: DesiredTenant, notice: _Notice) -> str:
    if notice.section is None or not getattr(tenant, notice.section):
        return notice.text
    return f"{notice.text} (ignored: the configuration file has its own {_IN_A_FILE[notice.section]})"


def _read(environ: Mapping[str, str]) -> tuple[DesiredTenant, list[_Notice]]:
    problems: list[str] = []
    notices: list[_Notice] = []
    tenant = DesiredTenant(
        slug=DEFAULT_TENANT,
        backends=_backends(environ, problems, notices),
        providers=_providers(environ, problems, notices),
        static_keys=_static_keys(environ, problems, notices),
        exhaustive=False,
    )
    for name in APIMAN_NAMES.values():
        if _value(environ, name):
            notices.append(_Notice(f"{name} is read only where a configuration file has a section apiman", None))
    if problems:
        raise SettingsInvalid(tuple(problems))
    return tenant, notices


def with_apiman_environment(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """A configuration file's tree, with what its section `apiman` of the tenant `default` leaves to the environment."""
    if isinstance(document.get("apiman"), dict):
        return {**document, "apiman": _completed(document["apiman"], environ)}
    tenants = document.get("tenants")
    tenant = tenants.get(DEFAULT_TENANT) if isinstance(tenants, dict) else None
    if not isinstance(tenants, dict) or not isinstance(tenant, dict) or not isinstance(tenant.get("apiman"), dict):
        return document
    tenant = {**tenant, "apiman": _completed(tenant["apiman"], environ)}
    return {**document, "tenants": {**tenants, DEFAULT_TENANT: tenant}}


def _completed(section: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    written = {key: value for key, value in section.items() if value not in (None, "")}
    given = {key: _value(environ, name) for key, name in APIMAN_NAMES.items() if _value(environ, name)}
    return {**section, **{key: value for key, value in given.items() if key not in written}}


def _providers(environ: Mapping[str, str], problems: list[str], notices: list[_Notice]) -> tuple[Provider, ...]:
    providers = []
    base_url, key = _value(environ, "OPENAI_BASE_URL"), _value(environ, "OPENAI_API_KEY")
    if base_url or key:
        _check_url("OPENAI_BASE_URL", base_url or PUBLIC_APIS["openai"], problems)
        providers.append(_provider("default", "openai", base_url, key))
        used = [name for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY") if _value(environ, name)]
        text = f"{' and '.join(used)}: defines the provider default of the tenant {DEFAULT_TENANT}"
        notices.append(_Notice(text, "providers"))
    key = _value(environ, "ANTHROPIC_API_KEY")
    if key:
        providers.append(_provider("anthropic", "anthropic", "", key))
        text = f"ANTHROPIC_API_KEY: defines the provider anthropic of the tenant {DEFAULT_TENANT}"
        notices.append(_Notice(text, "providers"))
    return tuple(providers)


def _provider(name: str, kind: ProviderKind, base_url: str, api_key: str) -> Provider:
    return Provider(
        id="",
        tenant_id="",
        name=name,
        kind=kind,
        origin="operator",
        revision=0,
        base_url=(base_url or PUBLIC_APIS[kind]).rstrip("/"),
        api_key=api_key,
    )


def _backends(environ: Mapping[str, str], problems: list[str], notices: list[_Notice]) -> tuple[Backend, ...]:
    """One OpenAPI service per endpoint. An endpoint with a path has its operations below that path, as before."""
    backends: dict[str, Backend] = {}
    urls: set[str] = set()
    for variable in ENDPOINT_NAMES:
        endpoints = [part.strip().rstrip("/") for part in _value(environ, variable).split(",") if part.strip()]
        for endpoint in endpoints:
            if not _check_url(variable, endpoint, problems) or endpoint in urls:
                continue
            urls.add(endpoint)
            name = _server_name(endpoint, taken=backends)
            backends[name] = Backend(
                id="",
                tenant_id="",
                name=name,
                transport=Transport.OPENAPI,
                origin="operator",
                revision=0,
                url=f"{endpoint}/openapi.json",
                base_url=endpoint if urlsplit(endpoint).path else None,
            )
        if endpoints:
            notices.append(_Notice(f"{variable}: defines OpenAPI servers of the tenant {DEFAULT_TENANT}", "backends"))
    return tuple(backends.values())


def _static_keys(environ: Mapping[str, str], problems: list[str], notices: list[_Notice]) -> dict[str, str]:
    key = _value(environ, "PROXY_API_KEY")
    if not key:
        return {}
    fault = static_key_fault(key)
    if fault:
        problems.append(f"PROXY_API_KEY: {fault}")
    notices.append(_Notice(f"PROXY_API_KEY: a static key for /v1 of the tenant {DEFAULT_TENANT}", "static_keys"))
    return {"PROXY_API_KEY": key}


def _server_name(endpoint: str, *, taken: Iterable[str]) -> str:
    """A name that stays the same: the last part of the path, else the host and port."""
    parts = urlsplit(endpoint)
    host = f"{parts.hostname}-{parts.port}" if parts.port else str(parts.hostname)
    text = PurePosixPath(parts.path).name or host
    stem = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_LONGEST_NAME].rstrip("-") or "server"
    name, number = stem, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = stem[: _LONGEST_NAME - len(suffix)] + suffix
    return name


def _check_url(variable: str, url: str, problems: list[str]) -> bool:
    fault = url_fault(url)
    if fault:
        problems.append(f"{variable}: {fault}")
    return fault is None


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()
