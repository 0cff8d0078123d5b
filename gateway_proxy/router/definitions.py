"""Whether what a backend lists is a definition at all. Clients check: one malformed entry, and none of a list is taken.

In a merged list that would be everybody's tools for the fault of one backend. So a member that may be absent and is of
the wrong type goes, as do keywords within its schemas that are none, and a definition whose input schema is none is
left out; whatever else is in it stays as it came.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

from gateway_proxy.backends.envelope import Fields, quote
from gateway_proxy.router.schemas import mend_schema


class DefinitionUnusable(Exception):
    """It lacks what every client needs. Its text names the member; stays inside this room."""


class _Icon(msgspec.Struct):
    src: str
    mimeType: str | None = None  # noqa: N815 - the name on the wire
    sizes: list[str] | None = None
    theme: Literal["light", "dark"] | None = None


class _Annotations(msgspec.Struct):
    audience: list[Literal["user", "assistant"]] | None = None
    priority: Annotated[float, Meta(ge=0, le=1)] | None = None
    lastModified: str | None = None  # noqa: N815 - the name on the wire


class _ToolAnnotations(msgspec.Struct):
    title: str | None = None
    readOnlyHint: bool | None = None  # noqa: N815 - the name on the wire
    destructiveHint: bool | None = None  # noqa: N815 - the name on the wire
    idempotentHint: bool | None = None  # noqa: N815 - the name on the wire
    openWorldHint: bool | None = None  # noqa: N815 - the name on the wire


class _Execution(msgspec.Struct):
    taskSupport: Literal["forbidden", "optional", "required"] | None = None  # noqa: N815 - the name on the wire


class _Argument(msgspec.Struct):
    name: str
    title: str | None = None
    description: str | None = None
    required: bool | None = None


class _Schema(msgspec.Struct):
    """The root of a tool's schema as 2025-11-25 has it; a schema without `type` is one for objects all the same."""

    type: Literal["object"] = "object"
    properties: dict[str, dict[str, Raw] | bool] | None = None
    required: list[str] | None = None


_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""`format: uri` in the schema of MCP: clients made with the Python SDK 1.x read no list with a reference in it."""
_schema: Final = msgspec.json.Decoder(_Schema)
_ANYTHING: Final = Raw(b'{"type":"object"}')
_MEMBERS: Final = frozenset(_Schema.__struct_fields__)
_object: Final = msgspec.json.Decoder(dict[str, Raw])
_plain: Final[dict[str, Any]] = {"title": str, "description": str, "icons": list[_Icon], "_meta": dict[str, Raw]}
_resource: Final[dict[str, Any]] = _plain | {"mimeType": str, "annotations": _Annotations}
_OPTIONAL: Final[Mapping[str, Mapping[str, msgspec.json.Decoder[Any]]]] = {
    member: {name: msgspec.json.Decoder(kind) for name, kind in kinds.items()}
    for member, kinds in {
        "tools": _plain | {"annotations": _ToolAnnotations, "execution": _Execution, "outputSchema": _Schema},
        "prompts": _plain | {"arguments": list[_Argument]},
        "resources": _resource | {"size": int},
        "resourceTemplates": _resource,
    }.items()
}
"""By the member of the list's result: what may be absent, and how it is read (schema of 2025-11-25 and 2026-07-28)."""


def mend(member: str, key: str, fields: Fields) -> list[str]:
    """Take what no client accepts out of a definition; the names of the members that are gone for being malformed.

    `key` is what the definition is known by; a resource without a name is called by its URI.

    Raises:
        DefinitionUnusable: A tool whose input schema is none, a name that is no string, or a URI without a scheme.
    """
    gone: list[str] = []
    for name, decoder in _OPTIONAL[member].items():
        raw = fields.get(name)
        if raw is not None and not _is_usable(fields, name, raw, decoder):
            del fields[name]
            if bytes(raw) != b"null":
                gone.append(name)
    if member == "tools":
        _mend_input_schema(fields)
        gone += _mend_schemas(fields)
    elif member in ("resources", "resourceTemplates"):
        named = fields.setdefault("name", Raw(quote(key)))
        if bytes(named)[:1] != b'"':
            raise DefinitionUnusable("name")
        if member == "resources" and not _ABSOLUTE.match(key):
            raise DefinitionUnusable("uri")
    return gone


def _is_usable(fields: Fields, name: str, raw: Raw, decoder: msgspec.json.Decoder[Any]) -> bool:
    value = bytes(raw)
    if value == b"null":
        return False
    try:
        decoder.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return False
    if name == "outputSchema":
        fields[name] = _with_type(value)
    elif name != "_meta" and b"null" in value and value[:1] != b'"':
        fields[name] = Raw(msgspec.json.encode(_without_nulls(msgspec.json.decode(value))))
    return True


def _mend_input_schema(fields: Fields) -> None:
    """A tool that says nothing of its arguments takes any: that is all it said."""
    value = bytes(fields.get("inputSchema", b"null"))
    if value == b"null":
        fields["inputSchema"] = _ANYTHING
        return
    try:
        _schema.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        raise DefinitionUnusable("inputSchema") from None
    fields["inputSchema"] = _with_type(value)


def _mend_schemas(fields: Fields) -> list[str]:
    gone = []
    for name in ("inputSchema", "outputSchema"):
        if name in fields:
            schema, where = mend_schema(bytes(fields[name]))
            fields[name] = Raw(schema)
            if where:
                gone.append(name + where)
    return gone


def _with_type(schema: bytes) -> Raw:
    """The schema, with a `type` if it has none and without nulls in the place of its own members."""
    members = _object.decode(schema)
    kept = {name: value for name, value in members.items() if name not in _MEMBERS or bytes(value) != b"null"}
    if len(kept) == len(members) and "type" in kept:
        return Raw(schema)
    return Raw(msgspec.json.encode({"type": "object"} | kept))


def _without_nulls(value: Any) -> Any:
    """An absent member and one that is null mean the same; only some clients know that."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
