"""OpenAPI schemas → JSON Schema that stands alone."""

from typing import Any

import jsonschema
import pytest

from gateway_proxy.backends.openapi.references import References
from gateway_proxy.backends.openapi.schemas import Extent, Inliner, SchemaTooLarge, SchemaUnusable

FULL = Extent(nodes=2000)


def inline(schema: Any, schemas: dict[str, Any] | None = None, *, extent: Extent = FULL, output: bool = False) -> Any:
    """The schema inlined, and proven to be one of 2020-12."""
    tree = {"openapi": "3.1.0", "components": {"schemas": schemas or {}}}
    result = Inliner(References(tree), extent, for_output=output).inline(schema)
    jsonschema.Draft202012Validator.check_schema(result)
    return result


def ref(name: str) -> dict[str, str]:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def test_nested_references_are_inlined() -> None:
    """Compatibility A5: nested `$ref` inlined; JSON pointers with escapes too."""
    schemas = {
        "Pet": {
            "type": "object",
            "properties": {"owner": ref("Own~1er"), "tags": {"type": "array", "items": ref("T")}},
        },
        "Own/er": {"type": "string"},
        "T": {"anyOf": [ref("Own~1er"), {"type": "integer"}]},
    }
    assert inline(ref("Pet"), schemas) == {
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "tags": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        },
    }


def test_a_circle_is_cut_where_it_closes() -> None:
    """E3: cycles cut. What is left says what it is and allows all that the schema does."""
    node = {
        "type": "object", "title": "Node", "description": "A node", "required": ["next"],
        "properties": {"next": ref("Node"), "other": {"type": "array", "items": ref("Node")}},
    }  # fmt: skip
    inlined = inline(ref("Node"), {"Node": node})
    cut = {"type": "object", "title": "Node", "description": "A node"}
    assert inlined["properties"] == {"next": cut, "other": {"type": "array", "items": cut}}


def test_a_circle_of_nothing_but_references_ends() -> None:
    """E3: cycles cut."""
    assert inline(ref("A"), {"A": ref("B"), "B": ref("A")}) == {}


def test_depth_is_bounded() -> None:
    """E3: depth ≤ 50, whether by references or by nesting."""
    schemas = {f"S{n}": {"type": "object", "properties": {"x": ref(f"S{n + 1}")}} for n in range(200)}
    schemas["S200"] = {"type": "string"}
    assert _depth(inline(ref("S0"), schemas)) <= 110  # two levels of JSON for each of schema
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(150):
        nested = {"type": "array", "items": nested}
    assert _depth(inline(nested)) <= 60


def test_references_that_multiply_are_stopped() -> None:
    """E3: ten references each to ten of the next: a document of 4 KiB that would be 10^9 schemas."""
    schemas = {f"S{n}": {"properties": {f"p{i}": ref(f"S{n + 1}") for i in range(10)}} for n in range(9)}
    schemas["S9"] = {}
    with pytest.raises(SchemaTooLarge):
        inline(ref("S0"), schemas)
    assert inline(ref("S0"), schemas, extent=Extent(1, False, 100))["properties"]["p0"] == {}


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("https://evil.example/schema.json#/A", "a $ref to another document, which is not fetched"),
        ("other.yaml#/A", "a $ref to another document, which is not fetched"),
        ("file:///etc/passwd", "a $ref to another document, which is not fetched"),
        ("#/components/schemas/Missing", "a $ref that points to nothing"),
        ("#nowhere", "a $ref that points to nothing"),
        (7, "a $ref that is not a string"),
    ],
)
def test_a_reference_out_of_the_document_is_never_followed(reference: Any, fault: str) -> None:
    """E3: no remote $ref."""
    with pytest.raises(SchemaUnusable, match=fault.replace("$", r"\$")):
        inline({"$ref": reference})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"nullable": True, "allOf": [{}]}, {"anyOf": [{"allOf": [{}]}, {"type": "null"}]}),
        ({"$ref": "#/components/schemas/S", "nullable": True}, {"type": ["string", "null"]}),
        ({"$ref": "#/components/schemas/S", "description": "d"}, {"type": "string", "description": "d"}),
        ({"$ref": "#/components/schemas/S", "minLength": 2}, {"allOf": [{"type": "string"}, {"minLength": 2}]}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"exclusiveMinimum": True}, {}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "prefixItems": [{"type": "string"}]}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        ({"not": False}, {"not": {"not": {}}}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"example": 1, "xml": {}, "discriminator": {}, "x-a": 1, "$id": "u", "$schema": "v"}, {"examples": [1]}),
        ({"pattern": r"\p{L}+"}, {}),
        ({"pattern": "^a+$"}, {"pattern": "^a+$"}),
        ({"patternProperties": {"^x": {}, "[": {}}}, {"patternProperties": {"^x": {}}}),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}),
    ],
)  # fmt: skip
def test_both_versions_become_the_json_schema_of_today(schema: Any, expected: Any) -> None:
    """OpenAPI 3.0.4, Schema Object, against JSON Schema 2020-12, which MCP's schemas are."""
    assert inline(schema, {"S": {"type": "string"}}) == expected


def test_what_is_read_only_is_not_asked_for_and_what_is_write_only_not_promised() -> None:
    """OpenAPI 3.1, Schema Object: readOnly and writeOnly; required counts only where the property does."""
    schema = {
        "type": "object",
        "required": ["id", "secret", "name"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "secret": ref("Secret"),
            "name": {"type": "string"},
        },
    }
    schemas = {"Secret": {"type": "string", "writeOnly": True}}
    asked, promised = inline(schema, schemas), inline(schema, schemas, output=True)
    assert (list(asked["properties"]), asked["required"]) == (["secret", "name"], ["secret", "name"])
    assert (list(promised["properties"]), promised["required"]) == (["id", "name"], ["id", "name"])


def test_a_promise_is_loosened_where_services_do_not_keep_it() -> None:
    """Clients drop a whole result that does not fit: absent may be null, and more may come than is documented."""
    schema = {
        "type": "object",
        "required": ["a"],
        "additionalProperties": False,
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"enum": [1]}, "d": {}},
    }
    assert inline(schema, output=True) == {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "b": {"type": ["integer", "null"]},
            "c": {"anyOf": [{"enum": [1]}, {"type": "null"}]},
            "d": {},
        },
    }


@pytest.mark.parametrize("schema", ["x", 7, None, {"properties": []}, {"allOf": {}}, {"items": "x"}])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    """F7: a clear error."""
    with pytest.raises(SchemaUnusable):
        inline(schema)


def _depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, children), default=0)
