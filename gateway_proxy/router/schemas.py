"""Tools' schemas as clients take them: JSON Schema 2020-12, the dialect of MCP, without keywords that no dialect has.

Clients made with the TypeScript SDK 2.0 (Claude's among them) refuse to call a tool whose output schema declares
another dialect, which servers of SDK 1.x all do. Models' providers check the input schemas of all tools of a request
and refuse it for one with a tuple of draft 7, a `"type":"int"` or a `"required":true`: one server's slip is the end of
every conversation that its tools are offered in. So older dialects are translated, and what is malformed goes, which
only allows more; the server still checks its arguments. No validation, and nothing is resolved.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[float, Meta(ge=0)]
_Schemas = Annotated[list["Schema | bool"], Meta(min_length=1)]


class Schema(msgspec.Struct, rename={"ref": "$ref", "defs": "$defs", "not_": "not", "if_": "if", "else_": "else"}):
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
    exclusiveMinimum: float = 0  # noqa: N815 - the name on the wire
    exclusiveMaximum: float = 0  # noqa: N815 - the name on the wire
    multipleOf: Annotated[float, Meta(gt=0)] = 1  # noqa: N815 - the name on the wire
    minLength: _Count = 0  # noqa: N815 - the name on the wire
    maxLength: _Count = 0  # noqa: N815 - the name on the wire
    minItems: _Count = 0  # noqa: N815 - the name on the wire
    maxItems: _Count = 0  # noqa: N815 - the name on the wire
    minProperties: _Count = 0  # noqa: N815 - the name on the wire
    maxProperties: _Count = 0  # noqa: N815 - the name on the wire
    uniqueItems: bool = False  # noqa: N815 - the name on the wire
    deprecated: bool = False
    properties: dict[str, "Schema | bool"] = {}
    patternProperties: dict[str, "Schema | bool"] = {}  # noqa: N815 - the name on the wire
    defs: dict[str, "Schema | bool"] = {}
    definitions: dict[str, "Schema | bool"] = {}
    items: "Schema | bool" = True
    additionalProperties: "Schema | bool" = True  # noqa: N815 - the name on the wire
    propertyNames: "Schema | bool" = True  # noqa: N815 - the name on the wire
    contains: "Schema | bool" = True
    not_: "Schema | bool" = True
    if_: "Schema | bool" = True
    then: "Schema | bool" = True
    else_: "Schema | bool" = True
    allOf: _Schemas = []  # noqa: N815 - the name on the wire
    anyOf: _Schemas = []  # noqa: N815 - the name on the wire
    oneOf: _Schemas = []  # noqa: N815 - the name on the wire
    prefixItems: _Schemas = []  # noqa: N815 - the name on the wire


_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_EITHER: Final = frozenset({"items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else"})
_KINDS: Final = {field.encode_name: field.type for field in msgspec.structs.fields(Schema)}
_OLDER: Final = re.compile(r"https?://json-schema\.org/(draft-0[4-7]|draft/2019-09)/schema#?")
_IN_TUPLE: Final = re.compile(r"/items/(?=[0-9]+(?:/|$))")
_decoder: Final = msgspec.json.Decoder(Schema)
_members: Final = msgspec.json.Decoder(dict[str, Raw])


def mend_schema(raw: bytes) -> tuple[bytes, str]:
    """A schema, which is a JSON object, as clients take it, and where its first malformed keyword was; "" without one.

    Left as they are: one nested hundreds of levels deep, and one with numbers that cannot be written again.
    """
    gone: list[str] = []
    try:
        _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        try:
            schema = msgspec.json.decode(raw)
            _mend(schema, "", gone)
            raw = msgspec.json.encode(schema)
        except (msgspec.MsgspecError, RecursionError):
            return raw, ""
    return _without_older_dialect(raw), gone[0] if gone else ""


def _without_older_dialect(raw: bytes) -> bytes:
    """Without `$schema` it is 2020-12 (2025-11-25, JSON Schema Usage); validators of older drafts take that, too."""
    if b'"$schema"' not in raw:
        return raw
    members = _members.decode(raw)
    declared = bytes(members.pop("$schema", b""))
    if not _OLDER.fullmatch(declared.strip(b'"').decode("utf-8", "replace")):
        return raw
    return msgspec.json.encode(members)


def _mend(schema: dict[str, Any], where: str, gone: list[str]) -> None:
    _translate(schema)
    for name in [name for name in schema if name in _KINDS]:
        value, path = schema[name], f"{where}/{name}"
        if name in _MAPS and isinstance(value, dict):
            for key in [key for key, each in value.items() if not _is_schema(each, f"{path}/{key}", gone)]:
                del value[key]
                gone.append(f"{path}/{key}")
        elif not _is_well_formed(name, value, path, gone):
            del schema[name]
            gone.append(path)


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


def _is_well_formed(name: str, value: Any, path: str, gone: list[str]) -> bool:
    if name in _LISTS and isinstance(value, list):
        usable = [_is_schema(each, f"{path}/{number}", gone) for number, each in enumerate(value)]
        return all(usable) and bool(value)
    if name in _EITHER:
        return _is_schema(value, path, gone)
    if name in _MAPS or name in _LISTS:
        return False
    try:
        msgspec.convert(value, _KINDS[name])
    except msgspec.ValidationError:
        return False
    return True


def _is_schema(value: Any, path: str, gone: list[str]) -> bool:
    """Whether it is a schema once its malformed keywords are gone, which they are then."""
    if isinstance(value, dict):
        _mend(value, path, gone)
        return True
    return isinstance(value, bool)
