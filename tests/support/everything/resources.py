"""The resources and the one template."""

import json
import re

from tests.support.everything.parts import PNG, Json

TEMPLATE = "test://template/{id}/data"
_TEMPLATE = re.compile(r"test://template/([^/]+)/data")

_TEXTS = {
    "test://static-text": "This is the content of the static text resource.",
    "test://watched-resource": "Watched resource content",
}
_BINARY = "test://static-binary"


def definitions() -> list[Json]:
    """The entries of resources/list."""
    texts = [{"uri": uri, "name": uri.removeprefix("test://"), "mimeType": "text/plain"} for uri in _TEXTS]
    return [*texts, {"uri": _BINARY, "name": "static-binary", "mimeType": "image/png"}]


def find_contents(uri: str) -> Json | None:
    """What a read of `uri` returns; None when there is no such resource."""
    if uri in _TEXTS:
        return {"uri": uri, "mimeType": "text/plain", "text": _TEXTS[uri]}
    if uri == _BINARY:
        return {"uri": uri, "mimeType": "image/png", "blob": PNG}
    found = _TEMPLATE.fullmatch(uri)
    if found is None:
        return None
    value = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
    return {"uri": uri, "mimeType": "application/json", "text": json.dumps(value)}
