"""Parameters and body of an operation → the arguments of a tool: its inputSchema, and how each argument is sent."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from openapi_pydantic.v3 import v3_1
from pydantic import BaseModel, ValidationError

from gateway_proxy.backends.openapi.paths import variables_of
from gateway_proxy.backends.openapi.plan import Body, BodyKind, Hints, Parameter, Place, Style
from gateway_proxy.backends.openapi.references import References
from gateway_proxy.backends.openapi.schemas import Extent, Inliner, Schema

_ARGUMENT: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}\Z")
_MEDIA_TYPE: Final = re.compile(r"[!#$&^_.+*0-9A-Za-z-]+/[!#$&^_.+*0-9A-Za-z-]+(?: *;[ -~]*)?\Z")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})  # OpenAPI 3.1, Parameter Object
_OURS: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
        "trailer", "expect", "cookie", "forwarded", "accept-encoding", "proxy-authorization", "user-agent",
    }
)  # fmt: skip
_STYLES: Final[Mapping[str, tuple[str, ...]]] = {  # the first is the default
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form", "cookie"),
}
_MERGEABLE: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "allOf", "title", "description", "default", "examples",
     "deprecated", "minProperties", "maxProperties"}
)  # fmt: skip


class OperationUnusable(Exception):
    """An operation cannot be offered; the argument is one of our own phrases."""


class Arguments(NamedTuple):
    """What a tool takes. `about_body` is the document's own description of the body."""

    schema: Schema
    parameters: tuple[Parameter, ...]
    body: Body | None
    about_body: str


class _Members(NamedTuple):
    """An object schema taken apart. `additional` is what it says of other members."""

    properties: Schema
    required: list[str]
    additional: Any


class ArgumentReader:
    """Reads the arguments of the operations of one document."""

    def __init__(self, references: References, hints: Hints) -> None:
        self._references = references
        self._fixed = {
            "header": frozenset(name.lower() for name in hints.headers),
            "cookie": frozenset(hints.cookies),
        }

    def read(self, path: str, shared: Any, operation: Mapping[str, Any], extent: Extent) -> Arguments:
        """The arguments of one operation; `shared` are the parameters of its path.

        Raises:
            OperationUnusable, ReferenceUnusable, SchemaUnusable, PathUnusable: It cannot be offered.
            SchemaTooLarge: Not to this extent.
        """
        inliner = Inliner(self._references, extent)
        collected = _Collected()
        for found in self._parameters(path, shared, operation.get("parameters")):
            parameter = self._parameter(found, collected)
            if parameter is not None:
                collected.add(parameter, self._schema_of(found, inliner, extent))
        body, about_body = None, ""
        if operation.get("requestBody") is not None:
            body, about_body = self._body(operation["requestBody"], inliner, collected)
        return Arguments(collected.schema(), tuple(collected.parameters), body, about_body)

    # --- parameters -------------------------------------------------------------------------------------------------
    def _parameters(self, path: str, *lists: Any) -> list[dict[str, Any]]:
        """The operation's over the path's, by name and place; then variables of the path that nobody declared."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for entries in lists:
            for entry in entries or []:
                parameter = self._references.follow(entry)
                if not isinstance(parameter, dict):
                    raise OperationUnusable("a parameter that is not an object")
                named = {key: value for key, value in parameter.items() if key not in _SCHEMAS}
                check(v3_1.Parameter, named, f"its parameter {short(parameter.get('name'))}")
                found[parameter["name"], parameter["in"]] = parameter
        variables = variables_of(path)
        for name in variables:
            found.setdefault((name, "path"), {"name": name, "in": "path", "schema": {"type": "string"}})
        return [entry for (name, place), entry in found.items() if place != "path" or name in variables]

    def _parameter(self, found: dict[str, Any], collected: "_Collected") -> Parameter | None:
        """How one parameter is sent; None for those that the definition fixes or that OpenAPI says to ignore."""
        name, place = found["name"], found["in"]
        required = place == "path" or found.get("required") is True
        if place in ("header", "cookie") and self._is_left_out(name, place, required):
            return None
        content = found.get("content")
        is_json = isinstance(content, dict) and any(is_json_media(media) for media in content)
        name_of_style = found.get("style") or _STYLES[place][0]
        if name_of_style not in _STYLES[place]:
            raise OperationUnusable(f"the style {short(name_of_style)} for a {place} parameter")
        explode = found.get("explode")
        if not isinstance(explode, bool):
            explode = name_of_style in ("form", "cookie")
        argument = collected.free_name(name, place)
        return Parameter(argument, name, place, Style(name_of_style, explode), required, is_json)

    def _is_left_out(self, name: str, place: Place, required: bool) -> bool:
        lower = name.lower()
        if place == "cookie":
            return name in self._fixed["cookie"]
        if lower in _IGNORED_HEADERS or lower in self._fixed["header"]:
            return True
        if not _HEADER.match(name) or lower in _OURS or lower.startswith("x-forwarded-"):
            if required:
                raise OperationUnusable(f"the header parameter {short(name)}, which may not be sent")
            return True
        return False

    def _schema_of(self, found: dict[str, Any], inliner: Inliner, extent: Extent) -> Schema:
        content = found.get("content")
        source = found.get("schema")
        if source is None and isinstance(content, dict) and content:
            media = next(iter(content.values()))
            source = media.get("schema") if isinstance(media, dict) else None
        schema = inliner.inline(source) if source is not None else {"type": "string"}
        if isinstance(found.get("description"), str) and found["description"]:
            schema = {**schema, "description": found["description"]}
        if found.get("deprecated") is True:
            schema = {**schema, "deprecated": True}
        if extent.examples and "example" in found and "examples" not in schema:
            schema = {**schema, "examples": [found["example"]]}
        return schema

    # --- body -------------------------------------------------------------------------------------------------------
    def _body(self, source: Any, inliner: Inliner, collected: "_Collected") -> tuple[Body, str]:
        body = self._references.follow(source)
        if not isinstance(body, dict) or not isinstance(body.get("content"), dict):
            raise OperationUnusable("a body without content")
        check(v3_1.RequestBody, {**body, "content": {}}, "its body")
        media_type, kind = _choose(body["content"])
        media = self._references.follow(body["content"][media_type])
        media = media if isinstance(media, dict) else {}
        schema = inliner.inline(media["schema"]) if media.get("schema") is not None else {}
        required = body.get("required") is True
        about = body["description"] if isinstance(body.get("description"), str) else ""
        sent_as = "application/json" if "*" in media_type else media_type
        members = _members_of(schema) if kind != "text" else None
        if members is not None and all(_ARGUMENT.match(name) for name in members.properties):
            collected.add_members(members)
            names = tuple(members.properties)
            is_open = members.additional is not False
            return Body(sent_as, kind, None, names, is_open, required, _form_styles(media, names, kind)), about
        argument = collected.free_name("body", "body")
        if kind == "text" and schema.get("type") != "string":
            schema = {"type": "string", "description": f"The body as {media_type}"}
        if about:
            schema = {**schema, "description": about}
        collected.add_named(argument, schema, required)
        return Body(sent_as, kind, argument, (), False, required, _form_styles(media, (), kind)), ""


_SCHEMAS: Final = frozenset({"schema", "content", "example", "examples"})


class _Collected:
    """Arguments so far, by name."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        self._properties: Schema = {}
        self._required: list[str] = []
        self._additional: Any = False

    def add(self, parameter: Parameter, schema: Schema) -> None:
        """A parameter."""
        self.parameters.append(parameter)
        self.add_named(parameter.argument, schema, parameter.required)

    def add_named(self, argument: str, schema: Schema, required: bool) -> None:
        """One argument."""
        self._properties[argument] = schema
        if required:
            self._required.append(argument)

    def add_members(self, members: _Members) -> None:
        """The members of the body. A parameter of the same name gives way: it becomes `<name>__<place>`."""
        for number, parameter in enumerate(self.parameters):
            if parameter.argument in members.properties:
                taken = {*members.properties, *self._properties}
                renamed = _unused(f"{parameter.argument[:50]}__{parameter.place}", taken)
                self.parameters[number] = msgspec.structs.replace(parameter, argument=renamed)
                self._properties = {
                    renamed if name == parameter.argument else name: schema for name, schema in self._properties.items()
                }
                self._required = [renamed if name == parameter.argument else name for name in self._required]
        self._properties |= members.properties
        self._required += [name for name in members.required if name in members.properties]
        self._additional = members.additional

    def free_name(self, name: str, place: str) -> str:
        """An argument name that every client takes."""
        usable = name if _ARGUMENT.match(name) else re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("_")[:60] or "value"
        return usable if usable not in self._properties else _unused(f"{usable[:50]}__{place}", self._properties)

    def schema(self) -> Schema:
        """The inputSchema."""
        schema: Schema = {"type": "object", "properties": self._properties}
        if self._required:
            schema["required"] = list(dict.fromkeys(self._required))
        if self._additional is not True:
            schema["additionalProperties"] = self._additional
        return schema


def is_json_media(media_type: str) -> bool:
    """Whether a media type is JSON (RFC 6839 §3.1), or leaves it open."""
    kind = _bare(media_type)
    return kind in ("application/json", "*/*", "application/*", "text/json") or kind.endswith("+json")


def check(model: type[BaseModel], value: Any, what: str) -> None:
    """Validate a part of the document by the library's model.

    Raises:
        OperationUnusable: It does not fit, naming where.
    """
    try:
        model.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise OperationUnusable(f"{what} is not valid OpenAPI{where_of(error)}") from None


def where_of(error: Exception) -> str:
    """Where a model does not fit, as a path; the library's own words stay out of ours."""
    if not isinstance(error, ValidationError):
        return ""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    places = [fault["loc"] for fault in faults if "Reference" not in fault["loc"]] or [faults[0]["loc"]]
    parts = [
        str(part) for part in max(places, key=len) if part not in ("Schema", "Reference", "bool", "list", "DataType")
    ]
    return f" at {short('.'.join(parts))}" if parts else ""


def short(text: Any) -> str:
    """A piece of the document, fit to stand in a message of ours."""
    return repr(str(text)[:60])


def _choose(content: Mapping[str, Any]) -> tuple[str, BodyKind]:
    """The media type to send: JSON, else a form, else text."""
    kinds = {media_type: _bare(media_type) for media_type in content if _MEDIA_TYPE.match(media_type)}
    for media_type in sorted(kinds, key=lambda name: kinds[name] != "application/json"):
        if is_json_media(media_type):
            return media_type, "json"
    for media_type, kind in kinds.items():
        if kind == "application/x-www-form-urlencoded":
            return media_type, "form"
    for media_type, kind in kinds.items():
        if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
            return media_type, "text"
    if any(kind.startswith("multipart/") for kind in kinds.values()):
        raise OperationUnusable("a multipart body, which is not supported")
    raise OperationUnusable(f"a body of {short(', '.join(content))}, which is not supported")


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _members_of(schema: Schema) -> _Members | None:
    """The members of an object schema, those of its `allOf` included; None when they are not all there is to it."""
    if schema.keys() - _MERGEABLE or schema.get("type", "object") not in ("object", ["object"], ["object", "null"]):
        return None
    properties: Schema = {}
    required = [name for name in schema.get("required", []) if isinstance(name, str)]
    additional = schema.get("additionalProperties", True)
    for part in schema.get("allOf", []):
        members = _members_of(part)
        if members is None:
            return None
        properties |= members.properties
        required += members.required
        additional = members.additional if additional is True else additional
    properties |= schema.get("properties", {})
    return _Members(properties, required, additional) if properties else None


def _form_styles(media: Mapping[str, Any], names: tuple[str, ...], kind: BodyKind) -> dict[str, Style]:
    """How the members of a form are written (OpenAPI 3.1, Encoding Object)."""
    encoding = media.get("encoding")
    if kind != "form" or not isinstance(encoding, dict):
        return {}
    styles: dict[str, Style] = {}
    for name, entry in encoding.items():
        check(v3_1.Encoding, entry, "the encoding of its body")
        style, explode = entry.get("style"), entry.get("explode")
        if style in _STYLES["query"]:
            styles[name] = Style(style, explode if isinstance(explode, bool) else style == "form")
        elif explode is not None:
            styles[name] = Style("form", explode is True)
        elif is_json_media(str(entry.get("contentType", ""))):
            styles[name] = Style("json", False)
    return {name: style for name, style in styles.items() if not names or name in names}


def _unused(name: str, taken: Any) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}{number}"
    return candidate
