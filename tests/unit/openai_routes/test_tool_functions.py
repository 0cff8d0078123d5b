"""Names, schemas and numbers of functions (issue 4, names and limits)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_routes.tool_names import CONFORMING, assign_names, conforming
from openai_routes.tool_schema import clean_schema
from openai_routes.tool_search import FunctionTool, search, split_tools

RECURSIVE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/node"}},
    "$defs": {"node": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
}


@given(st.lists(st.text(max_size=90), unique=True, max_size=30), st.sets(st.text(max_size=10)))
def test_every_name_conforms_is_unique_and_leads_back(names: list[str], taken: set[str]) -> None:
    """OpenAI's pattern for function names; the map is one to one."""
    assigned = assign_names(names, taken)
    assert all(CONFORMING.fullmatch(short) for short in assigned)
    assert sorted(assigned.values()) == sorted(names)
    assert not taken & set(assigned)


def test_long_names_are_cut_by_the_rule_of_the_contract() -> None:
    """Contract, Names: first 55, `_`, 8 hex of SHA-256, the same on every start."""
    name = "server__" + "x" * 80
    assert len(conforming(name)) == 64
    assert conforming(name).startswith(name[:55] + "_")
    assert conforming(name) == conforming(name)
    assert conforming("time.now") == "time_now"


def test_a_name_that_the_client_has_already_gives_way() -> None:
    """Issue 4: clashes with client tools are resolved; the client keeps its name."""
    (short,) = assign_names(["calc__add"], {"calc__add"})
    assert short.startswith("calc__add_")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"$schema": "x", "type": "object"}, {"type": "object", "properties": {}}),
        (
            {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": None}}},
            {"type": "object", "properties": {"a": {"type": "string", "default": None}}},
        ),
        (
            {"type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "A"}}},
            {"type": "object", "properties": {"a": {"type": "integer", "title": "A"}}},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/x", "description": "d"}}, "$defs": {"x": {"type": "string"}}},
            {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}},
        ),
        (
            {"type": "object", "properties": {"$defs": {"type": "string"}, "type": {"enum": ["null", None]}}},
            {"type": "object", "properties": {"$defs": {"type": "string"}, "type": {"enum": ["null", None]}}},
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.com/s.json"}}},
            {"type": "object", "properties": {"a": {}}},
        ),
    ],
)
def test_schemas_are_made_plain(given: Any, expected: dict[str, Any]) -> None:
    """openai-clients.md, recommended loop 12."""
    assert clean_schema(given) == expected


def test_a_recursive_schema_ends() -> None:
    """Security E3: depth is bounded."""
    cleaned = clean_schema(RECURSIVE)
    assert cleaned["properties"]["tree"]["properties"]["kids"]["items"] == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["$ref", "type", "anyOf", "properties", "$defs", "x"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_whatever_a_server_calls_a_schema_becomes_an_object(schema: Any) -> None:
    """A hostile definition must not end the request of everybody else."""
    cleaned = clean_schema(schema)
    assert cleaned["type"] == "object"
    assert isinstance(cleaned["properties"], dict)


def _tools(**servers: int) -> list[FunctionTool]:
    return [
        FunctionTool(f"{server}__tool{n}", f"{server}__tool{n}", server, f"Does {n} for {server}.", {})
        for server, count in servers.items()
        for n in range(count)
    ]


def test_tools_that_fit_are_all_shown() -> None:
    """No search where none is needed."""
    shown, hidden = split_tools(_tools(a=100, b=28), 128)
    assert (len(shown), hidden) == (128, [])


def test_whole_servers_are_kept_smallest_first_and_nothing_is_lost() -> None:
    """openai-clients.md, recommended loop 11: room is left for the two functions."""
    tools = _tools(big=150, small=20, middle=60)
    shown, hidden = split_tools(tools, 128)
    assert {t.server for t in shown} == {"small", "middle"}
    assert len(shown) + 2 <= 128
    assert {t.name for t in shown} | {t.name for t in hidden} == {t.name for t in tools}


def test_search_finds_by_name_and_description() -> None:
    """The model asks in its own words."""
    tools = _tools(shop=30)
    tools.append(
        FunctionTool("geo__route", "geo__route", "geo", "Plans a trip between two cities.", {"type": "object"})
    )
    assert '"geo__route"' in search(tools, "plan a trip")
    assert "The servers are: geo, shop" in search(tools, "zzz")
