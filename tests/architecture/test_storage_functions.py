"""Tenancy by construction: who reads or writes rows that a tenant owns names the tenant, as a keyword."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_proxy.storage.sql import tables

SQL = Path(tables.__file__).parent
TENANT_OWNED = {table.name for table in tables.metadata.sorted_tables if "tenant_id" in table.columns} - {
    "audit_events"
}

# Functions that must find a row before its tenant can be known, or that act on all tenants at once. Each says why.
BEFORE_THE_TENANT_IS_KNOWN = {
    "find_token_grounds": "turns a bearer secret into its tenant",
    "list_memberships": "a person's own places, asked for by user",
    "find_membership": "takes tenant_id",
    "list_every_static_key": "a request says only the key; the row says whose it is",
    "list_every_key_probe": "a request says only the key; the gateway that vouches says whose it is",
    "purge_expired": "housekeeping over every tenant",
    "add_audit_events": "each event carries its own tenant",
    "find_refresh_token": "turns a presented secret into its tenant (RFC 6749 §6)",
    "find_authorization_code": "turns a presented secret into its tenant (RFC 6749 §4.1.3)",
    "find_access_token": "turns a presented secret into its tenant (RFC 7009, RFC 7662)",
}


def _functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted(SQL.glob("*.py")):
        if path.name in ("tables.py", "database.py", "migrate.py", "failures.py", "upsert.py"):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield path.stem, node


def _tables_named_in(function: ast.FunctionDef) -> set[str]:
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    return (names | attributes) & TENANT_OWNED


CASES = [pytest.param(function, id=f"{module}.{function.name}") for module, function in _functions()]


@pytest.mark.parametrize("function", CASES)
def test_functions_on_tenant_owned_rows_take_tenant_id_as_a_keyword(function: ast.FunctionDef) -> None:
    """reference: T2. A query without the tenant is the second code path by which data crosses."""
    if function.name in BEFORE_THE_TENANT_IS_KNOWN or not _tables_named_in(function):
        return
    keywords = {argument.arg for argument in function.args.kwonlyargs}
    carried = {"tenant_id", "tenant", "token", "code", "grant", "family"}  # a noun that carries its tenant will do
    assert keywords & carried, f"{function.name} touches {_tables_named_in(function)} without tenant_id"


@pytest.mark.parametrize("function", CASES)
def test_storage_functions_take_a_session_and_keywords_only(function: ast.FunctionDef) -> None:
    """House rule: `def f(session: Session, *, …)`. What takes no session reads a row that it was given."""
    if "Session" not in ast.unparse(function.args):
        return
    assert [argument.arg for argument in function.args.args] == ["session"]


def _entries() -> Iterator[tuple[str, set[str]]]:
    """Where the source enters by the door, and with which keywords."""
    root = SQL.parents[2]
    for path in sorted([*root.glob("gateway_proxy/**/*.py"), *root.glob("openai_routes/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("database.run", "database.read")):
                yield f"{path.relative_to(root)}:{node.lineno}", {each.arg for each in node.keywords if each.arg}


def test_whoever_enters_for_a_tenant_says_so_at_the_door() -> None:
    """ADR 16: the second wall is raised for `tenant_id`; a context that holds it does not show there."""
    entries = dict(_entries())
    assert len(entries) > 30
    assert [place for place, keywords in entries.items() if "ctx" in keywords and "tenant_id" not in keywords] == []
