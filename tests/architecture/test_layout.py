"""The shape of the source: sizes, names, docstrings. (The import rules are import-linter's, in pyproject.toml.)"""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("gateway_proxy/**/*.py"), *ROOT.glob("openai_routes/**/*.py")])
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "service", "misc"}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_module_is_longer_than_400_lines() -> None:
    """House rule: a crowded room is rebuilt."""
    crowded = {_id(path): length for path in SOURCES if (length := len(path.read_text().splitlines())) > 400}
    assert crowded == {}


def test_the_median_module_has_at_most_150_lines() -> None:
    """House rule: small modules whose names tell their place."""
    lengths = [len(path.read_text().splitlines()) for path in SOURCES if path.name != "__init__.py"]
    assert statistics.median(lengths) <= 150


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_every_module_says_what_it_is_and_is_named_for_it(path: Path) -> None:
    """House rule: no drawers, and a docstring that says what a module is."""
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), f"{_id(path)} has no docstring"
