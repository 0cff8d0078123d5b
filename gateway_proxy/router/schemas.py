"""Tools' schemas as clients take them: JSON Schema 2020-12, the dialect of MCP, without keywords that no dialect has.

Clients made with the TypeScript SDK 2.0 (Claude's among them) refuse to call a tool whose output schema declares
another dialect, which servers of SDK 1.x all do. Models' providers check the input schemas of all tools of a request
and refuse it for one with a tuple of draft 7, a `"type":"int"` or a `"required":true`: one server's slip is the end of
every conversation that its tools are offered in. So older dialects are translated, and what is malformed goes, with all
that would forbid more for its absence: a mended schema only allows more, and the server still checks its arguments. No
validation, and nothing is resolved.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[float, Meta(ge=0)]
_Schemas = Annotated[list["Schema | bool"], Meta(min_length=1)]


_UNUSUAL: Final = {"ref": "$ref", "defs": "$defs"}


def _on_the_wire(name: str) -> str:
    first, *rest = name.removesuffix("_").split("_")  # a word of Python has an underscore behind it
    return _UNUSUAL.get(name, first + "".join(map(str.capitalize, rest)))


class Schema(msgspec.Struct, rename=_on_the_wire):
    """The keywords that are checked; what is not here may be anything."""

    type: _Type | Annotated[list[_Type], Meta(min_length=1)] = "object"
    title: str = ""
    description: str = ""
    format: str = ""
    pattern: str = ""
    ref: str = ""
    enum: list[Raw] = []
    examples: list[Raw] = []
    required: list[str] = []
    minimum: float = 0
    maximum: float = 0
    exclusive_minimum: float = 0
    exclusive_maximum: float = 0
    multiple_of: Annotated[float, Meta(gt=0)] = 1
    min_length: _Count = 0
    max_length: _Count = 0
    min_items: _Count = 0
    max_items: _Count = 0
    min_properties: _Count = 0
    max_properties: _Count = 0
    unique_items: bool = False
    deprecated: bool = False
    properties: dict[str, "Schema | bool"] = {}
    pattern_properties: dict[str, "Schema | bool"] = {}
    defs: dict[str, "Schema | bool"] = {}
    definitions: dict[str, "Schema | bool"] = {}
    items: "Schema | bool" = True
    additional_properties: "Schema | bool" = True
    property_names: "Schema | bool" = True
    contains: "Schema | bool" = True
    not_: "Schema | bool" = True
    if_: "Schema | bool" = True
    then: "Schema | bool" = True
    else_: "Schema | bool" = True
    all_of: _Schemas = []
    any_of: _Schemas = []
    one_of: _Schemas = []
    prefix_items: _Schemas = []


_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_EITHER: Final = frozenset({"items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else"})
_ANNOTATIONS: Final = frozenset({"title", "description", "format", "examples", "deprecated"})
_CONTRARY: Final = frozenset({"oneOf", "not", "if", "contains"})
"""What may forbid more when a schema within allows more (`contains` by its `maxContains`)."""
_UNEVALUATED: Final = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_KINDS: Final = {field.encode_name: field.type for field in msgspec.structs.fields(Schema)}
_OLDER: Final = re.compile(r"https?://json-schema\.org/(draft-0[4-7]|draft/2019-09)/schema#?")
_IN_TUPLE: Final = re.compile(r"/items/(?=[0-9]+(?:/|$))")
_decoder: Final = msgspec.json.Decoder(Schema)
_members: Final = msgspec.json.Decoder(dict[str, Raw])


def mend_schema(raw: bytes) -> tuple[bytes, str]:
    """A schema, which is a JSON object, as clients take it, and where its first malformed keyword was; "" without one.

    Left as they are: one nested hundreds of levels deep, and one with numbers that cannot be written again.
    """
    mending = _Mending()
    try:
        _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        try:
            schema = msgspec.json.decode(raw)
            mending.mend(schema, "")
            if mending.is_wider:  # what was passed already may refer to what came later
                mending.mend(schema, "")
            raw = msgspec.json.encode(schema)
        except (msgspec.MsgspecError, RecursionError):
            return raw, ""
    return _without_older_dialect(raw), mending.gone[0] if mending.gone else ""


def _without_older_dialect(raw: bytes) -> bytes:
    """Without `$schema` it is 2020-12 (2025-11-25, JSON Schema Usage); validators of older drafts take that, too."""
    if b'"$schema"' not in raw:
        return raw
    members = _members.decode(raw)
    declared = bytes(members.pop("$schema", b""))
    if not _OLDER.fullmatch(declared.strip(b'"').decode("utf-8", "replace")):
        return raw
    return msgspec.json.encode(members)


def _translate(schema: dict[str, Any]) -> None:
    """Tuples of drafts up to 2019-09 (and pointers into them), and exclusive limits of draft 4."""
    first = schema.get("items")
    if isinstance(first, list):
        del schema["items"]
        if first:
            schema.setdefault("prefixItems", first)
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")
    for name, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(name), bool) and schema.pop(name) and limit in schema:
            schema[name] = schema.pop(limit)
    if isinstance(schema.get("$ref"), str):
        schema["$ref"] = _IN_TUPLE.sub("/prefixItems/", schema["$ref"])


class _Mending:
    """One schema's way to being well-formed."""

    def __init__(self) -> None:
        self.gone: list[str] = []
        self.is_wider = False
        """Something of it allows more than before, and so may whatever refers to another part of it."""

    def mend(self, schema: dict[str, Any], where: str) -> bool:
        """Take out what is malformed; whether the schema may allow more now."""
        _translate(schema)
        wider = self.is_wider and "$ref" in schema
        for name in [name for name in schema if name in _KINDS]:
            value, path = schema[name], f"{where}/{name}"
            if not _is_well_formed(name, value):
                del schema[name]
                wider |= self._note(path, is_wider=name not in _ANNOTATIONS)
            elif self._mend_within(name, value, path):
                wider = True
                if name in _CONTRARY:
                    del schema[name]
        if wider:
            for name in _UNEVALUATED | (set() if "if" in schema else {"then", "else"}):
                schema.pop(name, None)
        return wider

    def _mend_within(self, name: str, value: Any, path: str) -> bool:
        if name in _EITHER:
            return isinstance(value, dict) and self.mend(value, path)
        wider = False
        if name in _MAPS or name in _LISTS:
            for key, each in list(value.items() if name in _MAPS else enumerate(value)):
                if isinstance(each, dict):
                    wider |= self.mend(each, f"{path}/{key}")
                elif not isinstance(each, bool):
                    value[key] = {}  # not away: what is not listed may be forbidden; and providers know no `true`
                    wider |= self._note(f"{path}/{key}", is_wider=True)
        return wider

    def _note(self, path: str, *, is_wider: bool) -> bool:
        self.gone.append(path)
        self.is_wider |= is_wider
        return is_wider


def _is_well_formed(name: str, value: Any) -> bool:
    """Whether the keyword's value is of its kind, whatever the schemas within are like."""
    if name in _MAPS:
        return isinstance(value, dict)
    if name in _LISTS:
        return isinstance(value, list) and bool(value)
    if name in _EITHER:
        return isinstance(value, dict | bool)
    try:
        msgspec.convert(value, _KINDS[name])
    except msgspec.ValidationError:
        return False
    return True
