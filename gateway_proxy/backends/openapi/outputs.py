"""Responses of an operation → what its tool promises to answer. The answers themselves are `results`' matter."""

from collections.abc import Mapping
from typing import Any, Final

from openapi_pydantic.v3 import v3_1

from gateway_proxy.backends.openapi.arguments import OperationUnusable, check, is_json_media
from gateway_proxy.backends.openapi.plan import Output
from gateway_proxy.backends.openapi.references import References, ReferenceUnusable
from gateway_proxy.backends.openapi.schemas import Extent, Inliner, Schema, SchemaUnusable

_OBJECT: Final = ("object", ["object"])


def read_output(references: References, responses: Any, extent: Extent) -> tuple[Output, Schema | None]:
    """The outputSchema, where every success of the operation is JSON of one shape; else nothing is promised.

    A response that is wrong in the document costs the promise, never the tool.

    Raises:
        SchemaTooLarge: Not to this extent.
    """
    try:
        source = _find_schema(references, responses)
        if source is None:
            return "any", None
        schema = Inliner(references, extent, for_output=True).inline(source)
    except (OperationUnusable, ReferenceUnusable, SchemaUnusable):
        return "any", None
    if not schema.keys() - {"title", "description", "examples"}:
        return "any", None
    if schema.get("type") in _OBJECT or ("type" not in schema and "properties" in schema):
        return "object", {**schema, "type": "object"}
    return "wrapped", {"type": "object", "properties": {"result": schema}, "required": ["result"]}


def _find_schema(references: References, responses: Any) -> Any:
    """The schema of the one success that is described; None when there is none, several, or one without JSON."""
    if not isinstance(responses, Mapping):
        return None
    found: list[Any] = []
    for status, entry in responses.items():
        if status.upper() != "2XX" and not (len(status) == 3 and status.startswith("2")):
            continue
        response = references.follow(entry)
        check(v3_1.Response, {"description": "", **_without_content(response)}, "a response")
        content = response.get("content")
        if not isinstance(content, Mapping) or not content or not all(is_json_media(media) for media in content):
            return None
        media = next(iter(content.values()))
        found.append(media.get("schema") if isinstance(media, Mapping) else None)
    return found[0] if found and all(schema == found[0] for schema in found) else None


def _without_content(response: Any) -> dict[str, Any]:
    if not isinstance(response, Mapping):
        raise OperationUnusable("a response that is not an object")
    return {key: value for key, value in response.items() if key not in ("content", "headers", "links")}
