"""Keywords of a tool's schemas that no draft of JSON Schema allows, as in `"type":"int"` or `"required":true`.

Models' providers check the schemas of all tools of a request and refuse the request for one of them: a single server's
slip is the end of every conversation that its tools are offered in. So such a keyword goes, which only allows more; the
server still checks its arguments. No validation, and nothing is resolved.
"""

import contextlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[float, Meta(ge=0)]
_Schemas = Annotated[list["Schema | bool"], Meta(min_length=1)]


class Schema(msgspec.Struct, rename={"ref": "$ref", "defs": "$defs", "not_": "not", "if_": "if", "else_": "else"}):
    """The keywords that are checked. Their values may be of any draft; what is not here may be anything."""

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
    exclusiveMinimum: float | bool = 0  # noqa: N815 - the name on the wire
    exclusiveMaximum: float | bool = 0  # noqa: N815 - the name on the wire
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
    items: "Schema | bool | list[Schema | bool]" = True
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
_decoder: Final = msgspec.json.Decoder(Schema)


def mend_schema(raw: bytes) -> tuple[bytes, str]:
    """A JSON object without its malformed keywords, and where the first of them was; empty when it is as it came.

    Left as they are: one nested hundreds of levels deep, and one with numbers that cannot be written again.
    """
    try:
        _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        gone: list[str] = []
        with contextlib.suppress(msgspec.MsgspecError, RecursionError):
            schema = msgspec.json.decode(raw)
            _mend(schema, "", gone)
            if gone:
                return msgspec.json.encode(schema), gone[0]
    return raw, ""


def _mend(schema: dict[str, Any], where: str, gone: list[str]) -> None:
    for name in [name for name in schema if name in _KINDS]:
        value, path = schema[name], f"{where}/{name}"
        if name in _MAPS and isinstance(value, dict):
            for key in [key for key, each in value.items() if not _is_schema(each, f"{path}/{key}", gone)]:
                del value[key]
                gone.append(f"{path}/{key}")
        elif not _is_well_formed(name, value, path, gone):
            del schema[name]
            gone.append(path)


def _is_well_formed(name: str, value: Any, path: str, gone: list[str]) -> bool:
    if isinstance(value, list) and (name in _LISTS or name == "items"):
        usable = [_is_schema(each, f"{path}/{number}", gone) for number, each in enumerate(value)]
        return all(usable) and (bool(value) or name == "items")
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
