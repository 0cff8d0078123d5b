"""The manifest of clauses is true: its ids are unique, each clause has a proof or a reason, and each proof exists."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "tests" / "conformance" / "manifest.yaml"
CLAUSES: list[dict[str, Any]] = yaml.safe_load(MANIFEST.read_text("utf-8"))


@cache
def _tests(path: str) -> frozenset[str]:
    """The names of the test functions in a file; of none when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def test_ids_are_unique() -> None:
    """A clause is looked up by its id."""
    ids = [clause["id"] for clause in CLAUSES]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause["id"])
def test_every_clause_has_a_proof_that_exists_or_a_reason_why_not(clause: dict[str, Any]) -> None:
    """House rule: each clause names the tests that prove it; gaps are data."""
    assert clause.keys() - {"proven_by", "gap"} == {"id", "url", "sentence"}
    assert clause["url"].startswith("https://")
    assert ("proven_by" in clause) != ("gap" in clause)
    assert clause.get("gap", "a reason")
    for proof in clause.get("proven_by", ["none"]):
        path, _, name = proof.partition("::")
        assert "gap" in clause or name in _tests(path), f"{clause['id']}: there is no {proof}"
