"""A configuration file of any shape we know → `DesiredState`. Only the order of the steps stands here."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.conversion import convert_struct
from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT, DesiredState
from gateway_proxy.provisioning.document import load_document
from gateway_proxy.provisioning.environment_aliases import with_apiman_environment
from gateway_proxy.provisioning.foreign_keys import without_foreign_keys
from gateway_proxy.provisioning.older_shapes import OLDER_KEYS, OLDER_NAMES, OlderShape, normalised, with_named_keys
from gateway_proxy.provisioning.problems import Problems
from gateway_proxy.provisioning.rules import Rules
from gateway_proxy.provisioning.shapes import DesktopShape, GatewayShape, TenantShape
from gateway_proxy.provisioning.variables import Expansion


def read_config_file(path: Path, environ: Mapping[str, str]) -> DesiredState:
    """Read a file; `environ` is what `${VAR}` in it stands for.

    Raises:
        ConfigFileInvalid: Naming everything that is wrong, each with its key path and what was expected.
    """
    return read_document(load_document(path), environ, folder=path.absolute().parent)


def read_document(document: Any, environ: Mapping[str, str], *, folder: Path) -> DesiredState:
    """The same for a document that is parsed already. `folder` is where a relative `cwd` starts.

    Raises:
        ConfigFileInvalid: As for `read_config_file`.
    """
    if not isinstance(document, dict) or not document:
        raise ConfigFileInvalid(("expected tenants and users, or mcpServers",))
    problems = Problems()
    document, notices = without_foreign_keys(document)
    expanded = Expansion(environ, problems).expand(document)
    problems.raise_if_any()  # a value that could not be expanded would only cause further, misleading problems
    keys = {str(key) for key in document}
    expanded = with_apiman_environment(expanded, environ)
    if "mcpServers" in keys and not keys & {"tenants", "users"}:
        desired = _read_desktop(expanded, problems, folder)
    elif keys & OLDER_KEYS and not keys & {"tenants", "users"}:
        desired = _read_older(expanded, problems, folder)
    else:
        desired = _read_gateway(expanded, problems, folder)
    problems.raise_if_any()
    return replace(desired, notices=notices)


def _read_gateway(document: Any, problems: Problems, folder: Path) -> DesiredState:
    shape = convert_struct(_tenants_prepared(document), GatewayShape, (), problems)
    if shape is None:
        return DesiredState()
    rules = Rules(problems, folder)
    return DesiredState(
        tenants=tuple(rules.tenant(slug, tenant, ("tenants", slug)) for slug, tenant in shape.tenants.items()),
        users=rules.users(shape.users, ("users",)),
    )


def _read_desktop(document: Any, problems: Problems, folder: Path) -> DesiredState:
    shape = convert_struct(document, DesktopShape, (), problems)
    if shape is None:
        return DesiredState()
    tenant = TenantShape(mcp_servers=shape.mcp_servers)
    return DesiredState(tenants=(Rules(problems, folder).tenant(DEFAULT_TENANT, tenant, ()),))


def _read_older(document: Any, problems: Problems, folder: Path) -> DesiredState:
    shape = convert_struct(normalised(document, problems), OlderShape, (), problems)
    if shape is None:
        return DesiredState()
    rules = Rules(problems, folder, OLDER_NAMES)
    return DesiredState(tenants=(rules.tenant(DEFAULT_TENANT, shape.as_tenant(), ()),))


def _tenants_prepared(document: dict[str, Any]) -> dict[str, Any]:
    """`tenants: {acme: }` is an empty section, not a mistake; and bare keys get names."""
    tenants = document.get("tenants")
    if not isinstance(tenants, dict):
        return document
    prepared = {slug: {} if tenant is None else _with_named_keys(tenant) for slug, tenant in tenants.items()}
    return {**document, "tenants": prepared}


def _with_named_keys(tenant: Any) -> Any:
    return with_named_keys(tenant) if isinstance(tenant, dict) else tenant
