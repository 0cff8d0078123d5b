"""OpenAPI schemas → JSON Schema 2020-12 that stands alone: `$ref` inlined, cycles cut, OpenAPI's own keywords gone.

Both versions come out the same. Only keywords of JSON Schema pass, so that nothing of a document reaches a client
that a strict validator there would refuse.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway_proxy.backends.openapi.references import References, ReferenceUnusable

MAX_DEPTH: Final = 50
MAX_PATTERN: Final = 1000

Schema = dict[str, Any]

_PLAIN: Final = frozenset(
    {
        "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
        "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains",
        "maxProperties", "minProperties", "required", "dependentRequired", "title", "description", "default",
        "deprecated", "format", "contentEncoding", "contentMediaType",
    }
)  # fmt: skip
_ONE: Final = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
        "unevaluatedItems", "unevaluatedProperties", "contentSchema",
    }
)  # fmt: skip
_MANY: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "deprecated", "examples"})
_CUT: Final = ("type", "title", "description", "format")


class SchemaUnusable(Exception):
    """A schema cannot be offered; the argument is one of our own phrases."""


class SchemaTooLarge(Exception):
    """Inlined, the schema is over the limit of nodes: try again with a shorter `Extent`."""


class Extent(NamedTuple):
    """How much of a schema is kept: references nested deeper than `references` become a mere type and title."""

    references: int = MAX_DEPTH
    examples: bool = True
    nodes: int = 8_000


class Inliner:
    """Inlines the schemas of one tool, within one budget of nodes.

    For output the schema is loosened where services are known not to keep to it: a property that may be absent may
    be null, and members that the document does not name are allowed. Clients drop a whole result for less.
    """

    def __init__(self, references: References, extent: Extent, *, for_output: bool = False) -> None:
        self._references = references
        self._extent = extent
        self._for_output = for_output
        self._hidden = "writeOnly" if for_output else "readOnly"
        self._nodes = 0

    def inline(self, schema: Any) -> Schema:
        """The schema by itself.

        Raises:
            SchemaUnusable: It is not a schema, or refers to what is not there.
            SchemaTooLarge: It is over the budget.
        """
        return self._of(schema, 0, ())

    def _of(self, schema: Any, depth: int, stack: tuple[str, ...]) -> Schema:
        self._nodes += 1
        if self._nodes > self._extent.nodes:
            raise SchemaTooLarge
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        if not isinstance(schema, dict):
            raise SchemaUnusable("a schema that is not an object")
        if depth > MAX_DEPTH:
            return _cut(schema)
        if "$ref" in schema:
            return self._reference(schema, depth, stack)
        return _nullable(schema, self._members(schema, depth + 1, stack))

    def _reference(self, schema: Schema, depth: int, stack: tuple[str, ...]) -> Schema:
        reference = schema["$ref"]
        try:
            target = self._references.find(reference)
        except ReferenceUnusable as error:
            raise SchemaUnusable(str(error)) from None
        if reference in stack or len(stack) >= self._extent.references:
            found = _cut(target)
        else:
            found = self._of(target, depth, (*stack, reference))
        siblings = {name: value for name, value in schema.items() if name != "$ref"}
        beside = _nullable(siblings, self._members(siblings, depth + 1, stack))
        if not beside.keys() - _ANNOTATIONS:
            return _nullable(siblings, {**found, **beside})
        return {"allOf": [found, beside]}

    def _members(self, schema: Schema, depth: int, stack: tuple[str, ...]) -> Schema:
        result: Schema = {}
        for name, value in schema.items():
            if name in _PLAIN:
                if name != "pattern" or _is_pattern(value):
                    result[name] = value
            elif name == "items" and isinstance(value, list):
                result["prefixItems"] = [self._of(entry, depth, stack) for entry in value]
            elif name == "additionalProperties" and isinstance(value, bool):
                result[name] = value
            elif name in _ONE:
                result[name] = self._of(value, depth, stack)
            elif name in _MANY:
                result[name] = [self._of(entry, depth, stack) for entry in _need(value, list)]
            elif name in _MAPS:
                result[name] = self._map(name, _need(value, dict), depth, stack)
        self._put_examples(schema, result)
        _fix_bounds(result)
        self._hide(schema, result)
        if self._for_output:
            _loosen(result)
        return result

    def _map(self, name: str, schemas: Schema, depth: int, stack: tuple[str, ...]) -> Schema:
        return {
            key: self._of(value, depth, stack)
            for key, value in schemas.items()
            if not (name == "properties" and self._is_hidden(value))
            and not (name == "patternProperties" and not _is_pattern(key))
        }

    def _is_hidden(self, schema: Any) -> bool:
        """Whether a property is not for this direction (`readOnly` in requests, `writeOnly` in responses)."""
        if not isinstance(schema, dict):
            return False
        if schema.get(self._hidden) is True:
            return True
        try:
            target = self._references.follow(schema)
        except ReferenceUnusable:
            return False
        return isinstance(target, dict) and target.get(self._hidden) is True

    def _hide(self, schema: Schema, result: Schema) -> None:
        """What is hidden is not required either."""
        required, named = result.get("required"), schema.get("properties")
        if isinstance(required, list) and isinstance(named, dict):
            kept = result.get("properties", {})
            result["required"] = [name for name in required if name in kept or name not in named]

    def _put_examples(self, schema: Schema, result: Schema) -> None:
        if not self._extent.examples:
            return
        if isinstance(schema.get("examples"), list):
            result["examples"] = schema["examples"]
        elif "example" in schema:
            result["examples"] = [schema["example"]]


def _is_pattern(value: Any) -> bool:
    """Whether clients in Python can use the expression too; at others (`\\p{L}`) they raise instead of validating."""
    try:
        return isinstance(value, str) and len(value) <= MAX_PATTERN and re.compile(value) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def _cut(target: Any) -> Schema:
    """What stands for a schema that is not inlined: it says what it is called and allows at least what that allows."""
    if not isinstance(target, dict):
        return {}
    kept = {name: target[name] for name in _CUT if isinstance(target.get(name), str)}
    if target.get("nullable") is True:
        kept.pop("type", None)
    return kept


def _nullable(schema: Mapping[str, Any], result: Schema) -> Schema:
    """OpenAPI 3.0's `nullable`."""
    return allow_null(result) if schema.get("nullable") is True else result


def allow_null(schema: Schema) -> Schema:
    """The schema, or null."""
    kind = schema.get("type")
    if isinstance(kind, str | list) and not schema.keys() & (_MANY - {"prefixItems"}) and "const" not in schema:
        kinds = [kind] if isinstance(kind, str) else list(kind)
        result = {**schema, "type": kinds if "null" in kinds else [*kinds, "null"]}
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            result["enum"] = [*schema["enum"], None]
        return result
    if not schema.keys() - _ANNOTATIONS:
        return schema
    outer = {name: schema[name] for name in _ANNOTATIONS if name in schema}
    inner = {name: value for name, value in schema.items() if name not in _ANNOTATIONS}
    return {**outer, "anyOf": [inner, {"type": "null"}]}


def _fix_bounds(result: Schema) -> None:
    """OpenAPI 3.0's boolean `exclusiveMinimum` and `exclusiveMaximum` as the numbers of today's JSON Schema."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = result.get(exclusive)
        if isinstance(flag, bool):
            del result[exclusive]
            if flag and bound in result:
                result[exclusive] = result.pop(bound)


def _loosen(result: Schema) -> None:
    for name in ("additionalProperties", "unevaluatedProperties"):
        if result.get(name) in (False, {"not": {}}):
            del result[name]
    required, properties = result.get("required"), result.get("properties")
    if properties:
        needed = set(required) if isinstance(required, list) and all(isinstance(n, str) for n in required) else set()
        result["properties"] = {
            name: schema if name in needed else allow_null(schema) for name, schema in properties.items()
        }


def _need(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise SchemaUnusable("a schema that is malformed")
    return value
