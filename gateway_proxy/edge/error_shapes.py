"""What the edge itself says when something is wrong, in the shape of the surface that was asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway_proxy.edge.surfaces import SurfaceName


@dataclass(frozen=True, slots=True)
class EdgeError:
    """One sentence for everybody, and the word or number that each protocol has for it."""

    sentence: str
    json_rpc: int
    openai_type: str
    openai_code: str
    oauth: str


def error_body(surface: SurfaceName, error: EdgeError) -> bytes:
    """The JSON that clients of a surface understand; pages for people are the caller's."""
    sentence = error.sentence
    shapes: Mapping[SurfaceName, object] = {
        "mcp": {"jsonrpc": "2.0", "id": None, "error": {"code": error.json_rpc, "message": sentence}},
        "openai": {"error": {"message": sentence, "type": error.openai_type, "param": None, "code": error.openai_code}},
        "oauth": {"error": error.oauth, "error_description": sentence},
    }
    return json.dumps(shapes.get(surface, {"error": sentence, "details": []})).encode()
