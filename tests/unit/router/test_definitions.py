"""Definitions as backends list them: what a strict client accepts of them, in both eras."""

import json
from typing import Any

import mcp_types.methods
import pytest
from jsonschema import Draft202012Validator, SchemaError

from gateway_proxy.backends.envelope import read_fields, write_fields
from gateway_proxy.router.definitions import DefinitionUnusable, mend
from gateway_proxy.router.schemas import mend_schema

OBJECT = {"type": "object"}
LISTS = {
    "tools": ("tools/list", "name"),
    "prompts": ("prompts/list", "name"),
    "resources": ("resources/list", "uri"),
    "resourceTemplates": ("resources/templates/list", "uriTemplate"),
}


def mended(member: str, definition: Any) -> tuple[dict[str, Any], list[str]]:
    """The definition as clients get it, and what is gone for being malformed."""
    key = LISTS[member][1]
    fields = read_fields(json.dumps(definition).encode())
    known = fields.pop(key)
    gone = mend(member, json.loads(bytes(known)), fields)
    return json.loads(write_fields({key: known, **fields})), gone


def accept(member: str, definition: dict[str, Any]) -> None:
    """What the official client does with a list before it gives anybody one of its entries."""
    for version in ("2025-11-25", "2026-07-28"):
        result = {member: [definition], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        mcp_types.methods.parse_server_result(LISTS[member][0], version, result)


@pytest.mark.parametrize(
    ("member", "definition", "gone"),
    [
        ("tools", {"name": "a", "inputSchema": OBJECT, "description": 5, "title": ["x"]}, ["title", "description"]),
        ("tools", {"name": "a", "inputSchema": OBJECT, "icons": [{"src": 1}], "_meta": "x"}, ["icons", "_meta"]),
        ("tools", {"name": "a", "inputSchema": OBJECT, "icons": [{"src": "x", "theme": "pink"}]}, ["icons"]),
        ("tools", {"name": "a", "inputSchema": OBJECT, "annotations": {"readOnlyHint": "no"}}, ["annotations"]),
        ("tools", {"name": "a", "inputSchema": OBJECT, "outputSchema": {"type": "array"}}, ["outputSchema"]),
        ("tools", {"name": "a", "inputSchema": OBJECT, "execution": {"taskSupport": 1}}, ["execution"]),
        ("tools", {"name": "a", "inputSchema": {}}, []),
        ("tools", {"name": "a"}, []),
        ("tools", {"name": "a", "inputSchema": None}, []),
        ("tools", {"name": "a", "inputSchema": {"properties": None, "required": None}}, []),
        ("tools", {"name": "a", "inputSchema": OBJECT, "outputSchema": {"$defs": {"a": {}}}}, []),
        ("tools", {"name": "a", "inputSchema": OBJECT, "annotations": {"title": None, "readOnlyHint": True}}, []),
        ("prompts", {"name": "a", "arguments": [{"name": "x", "required": None}], "description": None}, []),
        ("prompts", {"name": "a", "arguments": {"x": 1}}, ["arguments"]),
        ("resources", {"uri": "x:y"}, []),
        ("resources", {"uri": "x:y", "name": "a", "size": "big", "mimeType": 1}, ["mimeType", "size"]),
        ("resources", {"uri": "x:y", "name": "a", "annotations": {"audience": ["all"]}}, ["annotations"]),
        ("resources", {"uri": "x:y", "name": "a", "annotations": {"priority": 7}}, ["annotations"]),
        ("resourceTemplates", {"uriTemplate": "x:{y}", "annotations": []}, ["annotations"]),
    ],
)
def test_a_malformed_member_goes_and_the_rest_is_accepted(member: str, definition: Any, gone: list[str]) -> None:
    """MCP schema: a client that validates takes no entry of a list that has one malformed entry."""
    listed, missing = mended(member, definition)

    accept(member, listed)
    assert missing == gone
    assert not set(gone) & set(listed)


@pytest.mark.parametrize(
    "schema", [[], 0, "x", {"type": "array"}, {"type": None}, {"properties": []}, {"required": [1]}]
)
def test_a_tool_without_a_usable_input_schema_is_none(schema: Any) -> None:
    """MCP 2025-11-25, Tools: inputSchema is the schema of an object; Resources: `uri` has the format of one."""
    with pytest.raises(DefinitionUnusable, match="inputSchema"):
        mended("tools", {"name": "a", "inputSchema": schema})
    with pytest.raises(DefinitionUnusable, match="name"):
        mended("resources", {"uri": "x:y", "name": 5})
    for uri in ("docs/a", "/a", "not a uri", "1x:y"):
        with pytest.raises(DefinitionUnusable, match="uri"):
            mended("resources", {"uri": uri, "name": "a"})


def test_what_is_well_formed_stays_byte_for_byte() -> None:
    """relay.md 1: unknown members, numbers and spacing survive."""
    raw = (
        b'{"inputSchema":{ "type":"object","properties":{"a":{"const":null},"b":true},"$defs":{"x":{"default":1.50}}},'
        b'"x-vendor":{"n":null,"v":1.50},"annotations":{"readOnlyHint":true,"x":1e2},"_meta":{"k":null}}'
    )
    fields = read_fields(raw)

    assert mend("tools", "a", fields) == []
    assert write_fields(fields) == raw


@pytest.mark.parametrize(
    ("schema", "mended_schema", "where"),
    [
        ({"type": "int", "title": "T"}, {"title": "T"}, "/type"),
        ({"type": ["string", None]}, {}, "/type"),
        ({"type": "string", "required": True}, {"type": "string"}, "/required"),
        ({"description": None, "enum": None, "default": None}, {"default": None}, "/description"),
        (
            {"properties": {"a": {}, "required": ["a"]}},
            {"properties": {"a": {}, "required": {}}},
            "/properties/required",
        ),
        ({"properties": {"a": {"type": "any"}}}, {"properties": {"a": {}}}, "/properties/a/type"),
        ({"properties": []}, {}, "/properties"),
        ({"items": {"minLength": "5"}}, {"items": {}}, "/items/minLength"),
        ({"prefixItems": [{"type": "x"}, True]}, {"prefixItems": [{}, True]}, "/prefixItems/0/type"),
        ({"items": "string"}, {}, "/items"),
        ({"anyOf": [{"type": "str"}, {}]}, {"anyOf": [{}, {}]}, "/anyOf/0/type"),
        ({"anyOf": [], "not": {}}, {"not": {}}, "/anyOf"),
        ({"prefixItems": ["string", {}], "items": False}, {"prefixItems": [{}, {}], "items": False}, "/prefixItems/0"),
        ({"oneOf": ["x", {}], "maximum": 1}, {"maximum": 1}, "/oneOf/0"),
        ({"oneOf": [{"title": 5}, {"type": "null"}]}, {"oneOf": [{}, {"type": "null"}]}, "/oneOf/0/title"),
        ({"allOf": {}}, {}, "/allOf"),
        ({"$defs": {"a": {"pattern": 1}, "b": 1}}, {"$defs": {"a": {}, "b": {}}}, "/$defs/a/pattern"),
    ],
)
def test_a_keyword_that_no_json_schema_has_goes(schema: Any, mended_schema: Any, where: str) -> None:
    """MCP 2025-11-25, Tools: schemas MUST be valid. A model's provider refuses all tools for the schema of one."""
    tool: dict[str, Any] = {"name": "a", "inputSchema": {"type": "object", "properties": {"p": schema}}}
    tool["outputSchema"] = {"type": "object", "properties": {"p": {}}}
    listed, gone = mended("tools", tool)

    assert listed["inputSchema"]["properties"] == {"p": mended_schema}
    assert listed["outputSchema"] == tool["outputSchema"]
    assert gone == [f"inputSchema/properties/p{where}"]
    Draft202012Validator.check_schema(listed["inputSchema"])
    with pytest.raises(SchemaError):
        Draft202012Validator.check_schema(tool["inputSchema"])


INT = {"type": "int"}
TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"oneOf": [INT, TEXT]}, "text"),
        ({"not": INT}, "text"),
        ({"not": {"not": {"properties": {"x": INT}}}}, "text"),
        ({"if": INT, "then": {"minimum": 5}, "else": {"minLength": 9}}, "text"),
        ({"if": INT, "then": False}, "text"),
        ({"contains": INT, "maxContains": 1}, ["a", "b"]),
        ({"properties": {"x": "string"}, "required": ["x"], "additionalProperties": False}, {"x": "text"}),
        ({"patternProperties": {"^x": "string"}, "additionalProperties": False}, {"x": "text"}),
        ({"prefixItems": [5, TEXT], "items": False}, ["a", "b"]),
        ({"oneOf": [INT, {"properties": {"x": TEXT}}], "unevaluatedProperties": False}, {"x": "text"}),
        ({"not": {"$ref": "#/$defs/int"}, "$defs": {"int": INT}}, "text"),
        ({"$ref": "#/properties/p/$defs/x", "$defs": {"x": "string"}}, "text"),
    ],
)
def test_a_mended_schema_forbids_nothing_that_was_allowed(schema: Any, value: Any) -> None:
    """JSON Schema 2020-12 core, 10.2.1.3 to 10.2.2.1: these keywords take less when schemas in them take more."""
    tool = {"name": "a", "inputSchema": {"type": "object", "properties": {"p": schema}}}
    listed, gone = mended("tools", tool)

    assert gone
    Draft202012Validator(listed["inputSchema"]).validate({"p": value})


DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "translated"),
    [
        ({}, {}),
        (
            {"items": [{"type": "string"}, {}], "additionalItems": {"$ref": "#/properties/p/items/0"}},
            {"prefixItems": [{"type": "string"}, {}], "items": {"$ref": "#/properties/p/prefixItems/0"}},
        ),
        ({"items": [], "minItems": 1.0}, {"minItems": 1.0}),
        ({"not": {"items": [True]}}, {"not": {"prefixItems": [True]}}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 10**30, "exclusiveMaximum": False}, {"maximum": 10**30}),
        ({"$ref": "#/definitions/items/0", "additionalItems": {}}, None),
        ({"$ref": "#/definitions/x", "properties": {"$schema": {}}}, None),
    ],
)
@pytest.mark.parametrize("dialect", [DRAFT_7, "https://json-schema.org/draft/2019-09/schema", None])
def test_older_dialects_are_translated(schema: Any, translated: Any, dialect: str | None) -> None:
    """MCP 2025-11-25, JSON Schema Usage. Claude refuses tools of draft 7 (claude-code#86142, typescript-sdk#2721)."""
    root = {"type": "object", "properties": {"p": schema}}
    declared = {"$schema": dialect} if dialect else {}
    listed, gone = mended("tools", {"name": "a", "inputSchema": declared | root, "outputSchema": root | declared})

    expected = {"type": "object", "properties": {"p": schema if translated is None else translated}}
    assert listed == {"name": "a", "inputSchema": expected, "outputSchema": expected}
    assert gone == []
    Draft202012Validator.check_schema(expected)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"type": {"type": "string"}, "required": False}, "enum": [None, 10**30], "const": None},
        {"x-kind": None, "minLength": 1.0},
        {"type": "int", "not": json.loads('{"not":' * 600 + "{}" + "}" * 600)},
    ],
)
@pytest.mark.parametrize("dialect", ["https://json-schema.org/draft/2020-12/schema", "https://vendor.example/x#", 7])
def test_other_schemas_stay_as_they_are(schema: Any, dialect: Any) -> None:
    """relay.md 1; also what is too deep, or could not be written again."""
    tool = {"name": "a", "inputSchema": {"type": "object", "$schema": dialect, "properties": {"p": schema}}}
    assert mended("tools", tool) == (tool, [])
    raw = b'{"$schema":"%b","type":"int","default":1e400}' % DRAFT_7.encode()
    assert mend_schema(raw) == (raw, "")
