"""`${VAR}` in configuration files."""

from typing import Any

import pytest

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.problems import Problems
from gateway_proxy.provisioning.variables import Expansion, escaped


def expand(value: Any, **environ: str) -> Any:
    problems = Problems()
    expanded = Expansion(environ, problems).expand(value)
    problems.raise_if_any()
    return expanded


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "one"),
        ("Bearer ${A}!", "Bearer one!"),
        ("${A}${A}", "oneone"),
        ("${B:-two}", "two"),
        ("${B:-}", ""),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${B:-http://x:1/y}", "http://x:1/y"),
        ("$${A}", "${A}"),
        ("$A costs 5$", "$A costs 5$"),
    ],
)
def test_references_are_replaced_and_the_rest_stays(text: str, expanded: str) -> None:
    """Contract, configuration file; compatibility D1."""
    assert expand({"k": [text]}, A="one", EMPTY="") == {"k": [expanded]}


def test_every_missing_variable_is_named_with_its_key_path() -> None:
    """Plan of the configuration file."""
    with pytest.raises(ConfigFileInvalid) as caught:
        expand({"a": {"b": ["x", "${NOPE}"]}, "c": "${NEVER}", "d": "${}", "e": "${open"})

    assert caught.value.problems == (
        "a.b[1]: the environment variable NOPE is not set; set it, or write ${NOPE:-default}",
        "c: the environment variable NEVER is not set; set it, or write ${NEVER:-default}",
        'd: expected ${NAME} or ${NAME:-default}, got "${}"',
        'e: a "${" is not closed; write "$${" for a literal one',
    )


def test_a_value_is_not_expanded_twice() -> None:
    """A secret may hold a dollar sign and braces."""
    assert expand("${A}", A="${B}") == "${B}"


def test_escaped_text_expands_to_itself() -> None:
    """The promise that export is built on."""
    for text in ("plain", "${A}", "a ${B:-c} d", "$${A}", "$5 {x}"):
        assert expand(escaped(text)) == text


def test_a_small_file_that_stands_for_a_huge_tree_is_refused() -> None:
    """Security D1: anchors must not become a memory bomb."""
    bomb: Any = ["x"] * 10
    for _ in range(9):
        bomb = [bomb] * 10
    loop: list[Any] = []
    loop.append(loop)

    for tree in (bomb, loop):
        with pytest.raises(ConfigFileInvalid, match="expected at most 100000 values and 40 levels"):
            expand({"a": tree})
