"""Keys that other programs keep for themselves in the files that we read: passed over, and named in a notice.

Only what changes nothing about the servers we would start stands here. A key that limits what a server may do is no
such key: who relies on it has to hear that it does nothing here.
"""

from typing import Any, Final

from gateway_proxy.provisioning.problems import KeyPath, key_path_text

_OF_THE_FILE: Final = frozenset({"$schema", "globalShortcut", "isUsingBuiltInNodeForMcp", "preferences"})
_OF_A_SERVER: Final = frozenset({
    "alwaysAllow", "autoApprove", "description", "gallery", "icon", "trust", "version", "watchPaths",
})  # fmt: skip


def without_foreign_keys(document: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document without them, and a notice when there were any."""
    passed_over: list[str] = []
    result = _without(document, _OF_THE_FILE, (), passed_over)
    for key in ("mcpServers", "mcp_servers"):
        if key in result:
            result[key] = _servers(result[key], (key,), passed_over)
    tenants = result.get("tenants")
    if isinstance(tenants, dict):
        result["tenants"] = {
            slug: {**tenant, "mcpServers": _servers(tenant["mcpServers"], ("tenants", slug, "mcpServers"), passed_over)}
            if isinstance(tenant, dict) and "mcpServers" in tenant
            else tenant
            for slug, tenant in tenants.items()
        }
    notice = f"passed over, they are for another program: {', '.join(passed_over)}"
    return result, (notice,) if passed_over else ()


def _servers(servers: Any, path: KeyPath, passed_over: list[str]) -> Any:
    if isinstance(servers, dict):
        return {name: _without(entry, _OF_A_SERVER, (*path, name), passed_over) for name, entry in servers.items()}
    if isinstance(servers, list):
        return [_without(entry, _OF_A_SERVER, (*path, number), passed_over) for number, entry in enumerate(servers)]
    return servers


def _without(entry: Any, foreign: frozenset[str], path: KeyPath, passed_over: list[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    passed_over += [key_path_text((*path, key)) for key in entry if key in foreign]
    return {key: value for key, value in entry.items() if key not in foreign}
