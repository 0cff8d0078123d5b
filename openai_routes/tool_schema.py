"""Input schemas as providers take them: an object, references inlined, no null types. Pure, bounded, never fails.

The original stays with the backend, which validates arguments against it; what is simplified here only helps the model.
"""

from typing import Any, Final

DEPTH_LIMIT: Final = 24
NODE_LIMIT: Final = 4000
DROPPED: Final = frozenset({"$schema", "$id", "$defs", "definitions", "$anchor", "$comment"})
PLAIN: Final = frozenset({"const", "enum", "default", "examples", "required"})
NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})


def clean_schema(schema: Any) -> dict[str, Any]:
    """`schema` with an object at its root. A part that is recursive or too deep becomes `{}`: anything goes there."""
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    cleaned = _Cleaner(schema).clean(schema, (), 0)
    if cleaned.get("type") != "object":
        cleaned = {"type": "object", **{key: value for key, value in cleaned.items() if key != "type"}}
    if not isinstance(cleaned.get("properties"), dict):
        cleaned["properties"] = {}
    return cleaned


class _Cleaner:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def clean(self, node: dict[str, Any], refs: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._nodes += 1
        if depth > DEPTH_LIMIT or self._nodes > NODE_LIMIT:
            return {}
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = None if reference in refs else self._resolve(reference)
            rest = {key: value for key, value in node.items() if key != "$ref"}
            if target is None:
                return self.clean(rest, refs, depth + 1)
            return self.clean({**target, **rest}, (*refs, reference), depth + 1)
        found = {key: self._value(key, value, refs, depth) for key, value in node.items() if key not in DROPPED}
        return _without_null(found)

    def _value(self, key: str, value: Any, refs: tuple[str, ...], depth: int) -> Any:
        if key in PLAIN:
            return value
        if key in NAMED and isinstance(value, dict):
            return {name: self._node(part, refs, depth) for name, part in value.items()}
        return self._node(value, refs, depth)

    def _node(self, value: Any, refs: tuple[str, ...], depth: int) -> Any:
        if isinstance(value, dict):
            return self.clean(value, refs, depth + 1)
        if isinstance(value, list):
            return [self._node(part, refs, depth + 1) for part in value] if depth < DEPTH_LIMIT else []
        return value

    def _resolve(self, reference: str) -> dict[str, Any] | None:
        """What a local reference (`#/$defs/x`) points to; nothing else is ever followed."""
        if not reference.startswith("#"):
            return None
        node: Any = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                return None
            node = node[name]
        return node if isinstance(node, dict) else None


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """A union with null becomes the other type: an optional argument may be left out anyway."""
    kinds = node.get("type")
    if isinstance(kinds, list):
        others = [kind for kind in kinds if kind != "null"]
        node["type"] = others[0] if len(others) == 1 else others or "null"
    for key in ("anyOf", "oneOf"):
        choices = node.get(key)
        if not isinstance(choices, list):
            continue
        others = [choice for choice in choices if choice != {"type": "null"}]
        if len(others) == 1 and len(choices) > 1 and isinstance(others[0], dict):
            rest = {name: value for name, value in node.items() if name != key}
            return {**others[0], **rest}
        if others:
            node[key] = others
    return node
